// Samples with AWS's own X-Ray SDK for Node by the rules of X-Ray, which it asks for through the daemon's TCP port.
//
//     AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000 node sample.cjs --requests 200
//
// When it has the rules it decides so many times for each of two paths, sends a segment of each request that it samples, and prints
// one JSON line: {"checkout": decisions to sample, "health": ..}. Then it reports its statistics until its input ends.

const { parseArgs } = require("node:util");
const AWSXRay = require("aws-xray-sdk-core");
const rules = require("aws-xray-sdk-core/dist/lib/middleware/sampling/rule_cache");

const { values } = parseArgs({ options: { requests: { type: "string", default: "200" } } });
// The SDK asks for rules once at its start and then every five minutes.
const PATIENCE = 60_000;
AWSXRay.enableManualMode();

// As the SDK's middleware decides for a request.
function ask(name, url) {
  const segment = new AWSXRay.Segment(name);
  AWSXRay.middleware.resolveSampling({}, segment, { req: { headers: { host: "shop.example" }, method: "GET", url } });
  segment.close();
  return !segment.notTraced;
}

function decide() {
  const counts = { checkout: 0, health: 0 };
  for (let number = 0; number < Number(values.requests); number += 1) {
    counts.checkout += ask("checkout", "/checkout/1");
    counts.health += ask("health", "/health");
  }
  console.log(JSON.stringify(counts));
  process.stdin.resume();
  process.stdin.on("end", () => process.exit(0));
}

// The first question starts the SDK's pollers; until they have brought rules it samples by its own.
ask("health", "/health");
const begun = Date.now();
const looking = setInterval(() => {
  if (rules.getRules().length > 0) {
    clearInterval(looking);
    decide();
  } else if (Date.now() - begun > PATIENCE) {
    console.error("no rules came");
    process.exit(1);
  }
}, 20);
