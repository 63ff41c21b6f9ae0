// Sends spans with OpenTelemetry's own SDK, as an app does, and prints one JSON line a span.
//
//     node send_with_opentelemetry.cjs grpc|proto|json none|gzip http://127.0.0.1:4318 SPANS
'use strict';

const { trace, SpanKind } = require('@opentelemetry/api');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { NodeTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-node');

const [protocol, compression, endpoint, spans] = process.argv.slice(2);
const TEXT = '\u00e4 "quoted" \\ \n line';

function exporter() {
  const url = protocol === 'grpc' ? endpoint : `${endpoint}/v1/traces`;
  const name = { grpc: 'grpc', proto: 'proto', json: 'http' }[protocol];
  const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${name}`);
  return new OTLPTraceExporter({ url, compression });
}

async function main() {
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'shop' }),
    spanProcessors: [new BatchSpanProcessor(exporter(), { maxExportBatchSize: 8 })],
  });
  const tracer = provider.getTracer('orders', '0.1');
  for (let number = 0; number < Number(spans); number++) {
    const name = `${protocol}-${compression}-${number}`;
    const span = tracer.startSpan(name, { kind: SpanKind.CLIENT });
    span.setAttributes({ text: TEXT, numbers: [1, 2, 3], ratio: 0.5 });
    span.recordException(new Error('not enough \u20ac'));
    span.end();
    const { traceId, spanId } = span.spanContext();
    process.stdout.write(`${JSON.stringify({ trace_id: traceId, span_id: spanId, name, text: TEXT })}\n`);
  }
  await provider.forceFlush();
  await provider.shutdown();
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
