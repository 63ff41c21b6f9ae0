// An app that asks PostgreSQL all the while through a pool of `pg`, and renews the pool when pillion's webhook tells it to.
//
//     node query.cjs --folder /run/secrets --name orders --port PORT
//
// It never looks at the files but when it is told, and then once. A client of the pool serves three queries, so that the
// pool logs in again and again with what it was made of. It asks twenty times a second until its input ends, and answers every
// line of it with one line of totals.

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const readline = require("node:readline");
const { parseArgs } = require("node:util");
const { Pool } = require("pg");

const PAUSE = 50;

const { values } = parseArgs({
  options: { folder: { type: "string" }, name: { type: "string" }, port: { type: "string" } },
});
const totals = { ok: 0, failed: 0, refused: 0, told: 0, told_twice: 0, told_backwards: 0, generation: 0, users: 0, whys: [] };
const users = new Set();

function open() {
  const value = JSON.parse(fs.readFileSync(path.join(values.folder, `${values.name}.json`), "utf8"));
  const pool = new Pool({
    host: value.host, user: value.username, password: value.password, database: value.dbname, max: 2, maxUses: 3,
  });
  pool.on("error", () => {});
  return pool;
}

let pool = open();

// The pool before is ended when its queries are done.
function told(generation) {
  totals.told += 1;
  if (generation === totals.generation) totals.told_twice += 1;
  if (generation < totals.generation) totals.told_backwards += 1;
  totals.generation = Math.max(totals.generation, generation);
  const before = pool;
  pool = open();
  before.end().catch(() => {});
}

const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    try {
      told(JSON.parse(body).generation);
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(500).end();
    }
  });
});

async function query() {
  try {
    const answer = await pool.query("SELECT current_user");
    users.add(answer.rows[0].current_user);
    totals.ok += 1;
  } catch (error) {
    totals.failed += 1;
    if (error.code === "28P01") totals.refused += 1;
    if (totals.whys.length < 3) totals.whys.push(String(error.message).slice(0, 200));
  }
}

let ended = false;

async function go() {
  while (!ended) {
    await query();
    await new Promise((next) => setTimeout(next, PAUSE));
  }
  await pool.end();
  server.close();
  server.closeAllConnections();
}

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", () => process.stdout.write(JSON.stringify({ ...totals, users: users.size }) + "\n"));
lines.on("close", () => (ended = true));
server.listen(Number(values.port), "127.0.0.1", go);
