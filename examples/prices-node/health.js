// The container's health check: asks the service on its own port.

fetch("http://127.0.0.1:8081/health", { signal: AbortSignal.timeout(2000) })
  .then((answer) => process.exit(answer.ok ? 0 : 1))
  .catch(() => process.exit(1));
