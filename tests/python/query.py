"""An app that asks PostgreSQL all the while, with a password out of the files that pillion writes.

    python query.py HOW --folder /run/secrets --name orders [--api http://127.0.0.1:2773 --secret NAME]

HOW is one of
    pool     psycopg's pool; each new connection takes user and password out of NAME.json
    pair     user and password are two files, NAME/username and NAME/password, read through one open `..data`
    plain    a connection for each query, with what NAME.json says; it does nothing when it is refused
    report   the same, but a refused password is reported to pillion (POST /v1/agent/refresh); two attempts more, the second
             after a pause
    fresh    the same, but asks pillion for the value itself (refreshNow=true)

It asks twenty times a second until its input ends, and answers every line of it with one line of totals. A failure is a query
that its user would have seen fail.
"""

import argparse
import collections
import http.client
import json
import os
import select
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import psycopg
from psycopg_pool import ConnectionPool

PAUSE = 0.05
# Attempts behind the first one, by apps that do something about a refused password.
RETRIES = 2
RETRY_PAUSE = 0.6
# How long an app that reports waits for an agent that is started again.
AGENT_MAX = 20


class App:
    def __init__(self, arguments):
        self.how, self.folder, self.name = arguments.how, arguments.folder, arguments.name
        self.api, self.secret = arguments.api, arguments.secret
        self.totals = collections.Counter(ok=0, failed=0, refused=0, reads=0, broken=0, backwards=0, reports=0, unanswered=0)
        self.users, self.whys, self.generation = set(), set(), 0
        if self.how == "pool":
            # Connections live so shortly that every one of two generations is used.
            self.pool = ConnectionPool(kwargs=self.login, min_size=2, max_size=2, max_lifetime=0.2, timeout=5, open=True)

    def login(self):
        """User and password as the files have them now."""
        folder = os.open(os.path.join(self.folder, "..data"), os.O_RDONLY | os.O_DIRECTORY)
        try:
            read = lambda path: open(path, opener=lambda path, flags: os.open(path, flags, dir_fd=folder)).read()
            generation = json.loads(read(".generation"))["generation"]
            self.totals["backwards"] += generation < self.generation
            self.generation = generation
            whole = json.loads(read(f"{self.name}.json"))
            pair = {"username": read(f"{self.name}/username"), "password": read(f"{self.name}/password")}
            self.totals["broken"] += any(whole[key] != pair[key] for key in pair)
            value = whole | pair if self.how == "pair" else whole
        except (ValueError, KeyError, OSError) as why:
            self.totals["broken"] += 1
            self.whys.add(repr(why)[:60])
            raise
        finally:
            os.close(folder)
        self.totals["reads"] += 1
        return self.connection(value)

    def connection(self, value):
        return {"host": value["host"], "user": value["username"], "password": value["password"], "dbname": value["dbname"]}

    def ask(self, path, body=None):
        """The local API."""
        with open(os.path.join(self.folder, "token")) as token:
            headers = {"X-Aws-Parameters-Secrets-Token": token.read().strip()}
        request = urllib.request.Request(self.api + path, headers=headers, data=body)
        until = time.monotonic() + AGENT_MAX
        while True:
            try:
                with urllib.request.urlopen(request, timeout=AGENT_MAX) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError:
                raise
            except (OSError, http.client.HTTPException):
                # Nobody listens, or it was killed before it had answered.
                if time.monotonic() > until:
                    raise
                time.sleep(PAUSE)

    def fresh(self):
        """What to connect with after the password was refused."""
        self.totals["reports"] += 1
        try:
            if self.how == "report":
                self.ask("/v1/agent/refresh", json.dumps({"names": [self.name]}).encode())
                return self.login()
            path = "/secretsmanager/get?refreshNow=true&secretId=" + urllib.parse.quote(self.secret, safe="")
            return self.connection(json.loads(self.ask(path)["SecretString"]))
        except urllib.error.HTTPError:
            # AWS did not answer pillion. There are the files still, and another attempt.
            self.totals["unanswered"] += 1
            return self.login()

    def query(self, connection):
        user, = connection.execute("SELECT current_user").fetchone()
        self.users.add(user)

    def try_once(self):
        if self.how == "pool":
            with self.pool.connection() as connection:
                return self.query(connection)
        login = self.login()
        for left in reversed(range(RETRIES + 1)):
            try:
                with psycopg.connect(**login) as connection:
                    return self.query(connection)
            except psycopg.OperationalError as error:
                if "password authentication failed" not in str(error):
                    raise
                self.totals["refused"] += 1
                if self.how not in ("report", "fresh") or left == 0:
                    raise
                if left < RETRIES:
                    time.sleep(RETRY_PAUSE)
                login = self.fresh()

    def step(self):
        try:
            self.try_once()
            self.totals["ok"] += 1
        except Exception as error:
            self.totals["failed"] += 1
            # The text may name a user and hosts, and never has a password.
            self.whys.add(f"{type(error).__name__}: {error}"[:200])

    def say(self):
        whys = sorted(self.whys)[:3]
        print(json.dumps(self.totals | {"users": len(self.users), "generation": self.generation, "whys": whys}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["pool", "pair", "plain", "report", "fresh"])
    parser.add_argument("--folder", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--api")
    parser.add_argument("--secret")
    app = App(parser.parse_args())
    while True:
        app.step()
        if select.select([sys.stdin], [], [], PAUSE)[0]:
            if not sys.stdin.readline():
                break
            app.say()
    if app.how == "pool":
        app.pool.close()


if __name__ == "__main__":
    main()
