"""Rotates the passwords of a PostgreSQL database as the Lambda functions of AWS do, in four steps, against Secrets Manager.

    python rotate.py --endpoint http://127.0.0.1:5000 --admin 'host=/tmp/x user=postgres password=...'

It reads one JSON line a command, does it, and answers with one line: {"ok": true, ...}, or {"ok": false, "why": ..}.

    {"do": "create", "secret": NAME, "user": USER, "host": .., "dbname": ..}    a user, and the secret that names it
    {"do": "rotate", "secret": NAME, "strategy": "alternating" | "single", "every": SECONDS}
    {"do": "rest", "seconds": SECONDS}

A rotation begins `every` seconds after the last one of its secret began, or eight times as long after it as one of the last few
took, of whichever secret: on a machine that is slow everything is. The secret holds what those of RDS hold. It waits for nobody but the service and the database.
"""

import argparse
import collections
import json
import random
import string
import sys
import time
import uuid

import boto3
import psycopg
from botocore.config import Config
from psycopg import sql

# What a password may be made of: all that is printed but the blank, so that every format must quote.
ALPHABET = string.ascii_letters + string.digits + string.punctuation
# By this the last check of the whole test run finds a password where none may be.
CANARY = "canary-"
REGION = "us-east-1"
# A rotation is to the time between two of them at most as 1 is to this, unless that were too long to wait.
PARTS = 8
PAUSE_MAX = 15


class Rotator:
    """The Lambda function."""

    def __init__(self, endpoint, region, admin):
        self.secrets = boto3.client(
            "secretsmanager",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="canary/rotator",
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=10),
        )
        self.admin = psycopg.connect(admin, autocommit=True)
        # When the last rotation of a secret began, after how many seconds the next may, and how long the last few took.
        self.begun, self.every, self.took = {}, {}, collections.deque(maxlen=6)

    def password(self):
        return CANARY + "".join(random.choices(ALPHABET, k=25))

    def create(self, command):
        value = {"engine": "postgres", "host": command["host"], "username": command["user"]}
        value |= {"password": self.password(), "dbname": command["dbname"], "port": command.get("port", 5432)}
        self.set_password(value)
        self.secrets.create_secret(Name=command["secret"], SecretString=json.dumps(value))
        return {}

    def rotate(self, command):
        secret, token = command["secret"], str(uuid.uuid4())
        # What another secret's rotation took since then counts, too: the agent is told when all of them are done.
        pause = max(self.every.get(secret, 0), min(PARTS * max(self.took, default=0), PAUSE_MAX))
        time.sleep(max(0, self.begun.get(secret, 0) + pause - time.monotonic()))
        begun = time.monotonic()
        current = self.secrets.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
        self.create_secret(secret, token, json.loads(current["SecretString"]), command["strategy"])
        pending = self.secrets.get_secret_value(SecretId=secret, VersionId=token, VersionStage="AWSPENDING")
        pending = json.loads(pending["SecretString"])
        self.set_password(pending)
        self.test_secret(pending)
        self.finish_secret(secret, token, current["VersionId"])
        self.took.append(time.monotonic() - begun)
        self.begun[secret], self.every[secret] = begun, command["every"]
        return {"version": token, "took": max(self.took)}

    def rest(self, command):
        time.sleep(command["seconds"])
        return {}

    def create_secret(self, secret, token, value, strategy):
        """Step 1: a new password, and the other of two users if they alternate."""
        if strategy == "alternating":
            name = value["username"]
            value["username"] = name.removesuffix("_clone") if name.endswith("_clone") else name + "_clone"
        value["password"] = self.password()
        self.secrets.put_secret_value(
            SecretId=secret, ClientRequestToken=token, SecretString=json.dumps(value), VersionStages=["AWSPENDING"]
        )

    def set_password(self, value):
        """Step 2: the database takes the new password. From here on the old one of the same user is refused."""
        user, password = sql.Identifier(value["username"]), sql.Literal(value["password"])
        known = self.admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [value["username"]]).rowcount
        verb = sql.SQL("ALTER ROLE {} PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}")
        self.admin.execute(verb.format(user, password))

    def test_secret(self, value):
        """Step 3: a login with the new password."""
        names = {"host": value["host"], "port": value["port"], "user": value["username"], "password": value["password"]}
        with psycopg.connect(**names, dbname=value["dbname"]) as connection:
            connection.execute("SELECT 1")

    def finish_secret(self, secret, token, before):
        """Step 4: the new version is current."""
        move = {"SecretId": secret, "MoveToVersionId": token}
        self.secrets.update_secret_version_stage(VersionStage="AWSCURRENT", RemoveFromVersionId=before, **move)
        self.secrets.update_secret_version_stage(
            SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=token
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--admin", required=True)
    arguments = parser.parse_args()
    rotator = Rotator(arguments.endpoint, arguments.region, arguments.admin)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": True} | getattr(rotator, command["do"])(command)
        except Exception as error:
            # The type alone: the text may hold the statement, and so the password.
            answer = {"ok": False, "why": type(error).__name__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
