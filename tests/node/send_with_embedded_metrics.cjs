// Sends metrics with AWS's own library for the embedded metric format, in the mode that it takes in ECS beside FireLens, and prints what
// it sent as one JSON line.
//
//     ECS_CONTAINER_METADATA_URI=http://127.0.0.1:1 FLUENT_HOST=127.0.0.1 node send_with_embedded_metrics.cjs
//
// In this mode it sends to port 25888 of FLUENT_HOST and names no log group.
'use strict';

const { createMetricsLogger, Unit, StorageResolution } = require('aws-embedded-metrics');

const REQUESTS = 40;

async function main() {
  const sent = { latency: [], size: [] };
  for (let number = 0; number < REQUESTS; number += 1) {
    const logger = createMetricsLogger();
    logger.setNamespace('shop');
    logger.setDimensions({ route: `/${number % 2}` });
    logger.setProperty('requestId', `request-${number} \u00e4 "quoted"`);
    const count = number % 10 === 0 ? 250 : 3;
    for (let value = 0; value < count; value += 1) {
      const latency = number + value / 4;
      logger.putMetric('latency', latency, Unit.Milliseconds);
      sent.latency.push(latency);
    }
    logger.putMetric('size', number, Unit.Bytes, StorageResolution.High);
    sent.size.push(number);
    await logger.flush();
  }
  process.stdout.write(`${JSON.stringify(sent)}\n`, () => process.exit(0));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
