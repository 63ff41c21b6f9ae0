// Sends metrics with hot-shots, as apps in Node do.
//
//     node statsd.cjs --port 8125 --rounds 100
//
// Each round counts 3 in `node.orders` (tag `shop`), times `node.took` with 7 ms and sets `node.stock` to the round.

const { parseArgs } = require("node:util");
const { StatsD } = require("hot-shots");

const { values } = parseArgs({ options: { port: { type: "string" }, rounds: { type: "string" } } });
const client = new StatsD({ host: "127.0.0.1", port: Number(values.port), prefix: "node.", maxBufferSize: 1000, errorHandler: (error) => { throw error; } });
for (let number = 0; number < Number(values.rounds); number += 1) {
  client.increment("orders", 3, { shop: "north" });
  client.timing("took", 7);
  client.gauge("stock", number);
}
client.close(() => {});
