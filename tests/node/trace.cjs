// Sends segments with AWS's own X-Ray SDK for Node, as an app does, and prints one JSON line a segment.
//
//     AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000 node trace.cjs --segments 20
//
// A line is {"trace_id": .., "id": .., "name": ..}. Each segment has a subsegment with an annotation, metadata and an error, and
// every tenth has so many subsegments that the SDK streams them as documents of their own.

const { parseArgs } = require("node:util");
const AWSXRay = require("aws-xray-sdk-core");

const { values } = parseArgs({ options: { segments: { type: "string", default: "20" } } });
// While more than this are open, finished subsegments are sent before their segment is. The SDK's default is 100.
AWSXRay.setStreamingThreshold(5);
AWSXRay.enableManualMode();

for (let number = 0; number < Number(values.segments); number += 1) {
  const segment = new AWSXRay.Segment(`order-${number}`);
  const parts = number % 10 === 0 ? 40 : 1;
  const open = Array.from({ length: parts }, (_, part) => segment.addNewSubsegment(`step-${part}`));
  for (const subsegment of open) {
    subsegment.addAnnotation("number", number);
    subsegment.addMetadata("text", "\u00e4 \"quoted\" \\ \n line");
    subsegment.close(new Error("not enough \u20ac"));
  }
  segment.close();
  console.log(JSON.stringify({ trace_id: segment.trace_id, id: segment.id, name: segment.name }));
}
