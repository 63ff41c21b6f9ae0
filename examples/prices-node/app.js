// Says what things cost.
//
//     GET /prices/7      {"number": 7, "cents": 700, "user": "shop"}
//     GET /health
//
// Lines go to standard output, segments to AWS_XRAY_DAEMON_ADDRESS, metrics to STATSD_HOST. The database's user and password are in
// the file that DB_FILE names; when they are rotated, pillion says so with a POST to /rotated on a port of loopback.

const fs = require("node:fs");
const AWSXRay = require("aws-xray-sdk-core");
const xrayExpress = require("aws-xray-sdk-express");
const express = require("express");
const { StatsD } = require("hot-shots");
const { Pool } = require("pg");

const PORT = 8081;
const HOOK_PORT = 9001;

function say(message, more = {}) {
  console.log(JSON.stringify({ at: new Date().toISOString(), message, ...more }));
}

// A pool keeps the user and the password that it was made with. So there is one for each version of the secret.
function openPool() {
  const value = JSON.parse(fs.readFileSync(process.env.DB_FILE, "utf8"));
  const pool = new Pool({
    host: value.host, port: value.port, user: value.username, password: value.password, database: value.dbname, max: 8,
  });
  // An idle connection that breaks is replaced when the next one is asked for.
  pool.on("error", (error) => say("connection lost", { error: error.message }));
  return pool;
}

let pool = openPool();

const hook = express();
hook.post("/rotated", express.json(), (request, response) => {
  const before = pool;
  pool = openPool();
  // Ends when the queries that are under way have ended.
  before.end().catch((error) => say("old pool did not end well", { error: error.message }));
  say("password rotated", { generation: request.body.generation });
  response.sendStatus(204);
});

const statsd = new StatsD({ host: process.env.STATSD_HOST, port: 8125, prefix: "prices." });
const app = express();
app.get("/health", (request, response) => response.send("ok\n"));
app.use(xrayExpress.openSegment("prices"));
app.get("/prices/:number", async (request, response) => {
  const number = Number(request.params.number);
  const found = await pool.query("SELECT cents, current_user AS user FROM prices WHERE number = $1", [number]);
  if (found.rows.length === 0) {
    response.status(404).json({ error: "no such thing" });
    return;
  }
  const { cents, user } = found.rows[0];
  statsd.increment("asked");
  say("price asked", { number, cents, trace: AWSXRay.getSegment().trace_id });
  response.json({ number, cents, user });
});
app.use(xrayExpress.closeSegment());

const servers = [app.listen(PORT, "0.0.0.0", () => say("prices ready")), hook.listen(HOOK_PORT, "127.0.0.1")];

// As process 1 it gets no default handler for SIGTERM.
process.on("SIGTERM", () => {
  for (const server of servers) {
    server.close();
    server.closeIdleConnections();
  }
  statsd.close(() => pool.end().finally(() => {
    say("prices stopped");
    process.exit(0);
  }));
});
