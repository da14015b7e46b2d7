// A reference service in JavaScript, on the circuit breaker that services in Node.js are really built with: opossum. Each of its
// options that stands below is a flag, which can be given a value that breaks a promise.
//
//	GET /order    asks the peer for /recommend, through the breaker; answers without it when it must, with the header
//	              x-fallback: true
//	GET /browse   does not need the peer
//	GET /healthz  answers with ok
//	GET /metrics  circuit{name,event}, as opossum-prometheus exports it
'use strict';

const http = require('node:http');
const { parseArgs } = require('node:util');
const CircuitBreaker = require('opossum');

const defaults = {
  port: '', // to listen on, on 127.0.0.1
  peer: '', // HOST:PORT
  // opossum's, with the defaults that its README and JSDoc tell. Times are in milliseconds.
  timeout: '10000',
  'error-threshold-percentage': '50',
  'reset-timeout': '30000',
  'rolling-count-timeout': '10000',
  'volume-threshold': '0',
  capacity: String(Number.MAX_SAFE_INTEGER),
  // What opossum leaves to the application.
  fallback: 'true',
  cancel: 'true', // a call that timed out is given up
  'unready-when-open': 'false',
};

function die(reason) {
  console.error(`checkout: ${reason}`);
  process.exit(2);
}

function parseOptions() {
  const options = Object.fromEntries(Object.keys(defaults).map((name) => [name, { type: 'string', default: defaults[name] }]));
  let values;
  try {
    values = parseArgs({ options }).values;
  } catch (error) {
    die(error.message);
  }
  const number = (name, least, most) => {
    const value = Number(values[name]);
    if (values[name] === '' || !Number.isInteger(value) || value < least || value > most) {
      die(`--${name}=${values[name]}: write a whole number from ${least} to ${most}`);
    }
    return value;
  };
  const flag = (name) => {
    if (!['true', 'false'].includes(values[name])) die(`--${name}=${values[name]}: write true or false`);
    return values[name] === 'true';
  };
  const [, host, peerPort] = /^(.+):(\d+)$/.exec(values.peer) ?? die(`--peer=${values.peer}: write HOST:PORT`);
  const hour = 3600 * 1000;
  return {
    port: number('port', 1, 65535),
    peer: { host, port: Number(peerPort), path: '/recommend', agent: new http.Agent({ keepAlive: true }) },
    fallback: flag('fallback'),
    cancel: flag('cancel'),
    unreadyWhenOpen: flag('unready-when-open'),
    circuit: {
      name: 'recommend',
      timeout: number('timeout', 0, hour) || false,
      errorThresholdPercentage: number('error-threshold-percentage', 0, 100),
      resetTimeout: number('reset-timeout', 1, hour),
      rollingCountTimeout: number('rolling-count-timeout', 100, hour),
      volumeThreshold: number('volume-threshold', 0, 1e6),
      capacity: number('capacity', 1, Number.MAX_SAFE_INTEGER),
    },
  };
}

// Asks the peer for JSON, with `headers`, until `signal` is aborted.
function ask(peer, { signal, headers }) {
  return new Promise((resolve, reject) => {
    const request = http.get({ ...peer, signal, headers }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode !== 200) return reject(new Error(`${peer.host}:${peer.port} answered with ${response.statusCode}`));
        try {
          resolve(JSON.parse(Buffer.concat(chunks)));
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on('error', reject);
  });
}

function makeBreaker(options, counts) {
  const breaker = new CircuitBreaker((call) => ask(options.peer, call), options.circuit);
  if (options.fallback) breaker.fallback(() => null);
  const events = ['fire', 'success', 'failure', 'timeout', 'reject', 'fallback', 'semaphoreLocked', 'open', 'halfOpen', 'close'];
  for (const event of events) {
    breaker.on(event, () => counts.set(event, (counts.get(event) ?? 0) + 1));
  }
  for (const event of ['open', 'halfOpen', 'close']) {
    breaker.on(event, () => console.log(`circuit ${breaker.name}: ${event}`));
  }
  // opossum's own abortController is one for all calls.
  breaker.on('timeout', (error, latency, [call]) => {
    if (options.cancel) call.controller.abort();
  });
  return breaker;
}

// The answer to an order, and whether the peer had a part in it.
async function order(breaker, request, response) {
  const controller = new AbortController();
  const { traceparent } = request.headers;
  let recommendation = null;
  try {
    recommendation = await breaker.fire({ controller, signal: controller.signal, headers: traceparent ? { traceparent } : {} });
  } catch (error) {
    return answer(response, 503, { error: error.message });
  }
  if (recommendation === null) response.setHeader('x-fallback', 'true');
  answer(response, 200, { order: 'accepted', recommendation, fallback: recommendation === null });
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

function metrics(breaker, counts) {
  const lines = ["# HELP circuit A count of all circuit' events", '# TYPE circuit counter'];
  for (const [event, count] of counts) lines.push(`circuit{name="${breaker.name}",event="${event}"} ${count}`);
  return `${lines.join('\n')}\n`;
}

const options = parseOptions();
const counts = new Map();
const breaker = makeBreaker(options, counts);
const text = { 'content-type': 'text/plain; version=0.0.4' };
const server = http.createServer((request, response) => {
  switch (request.url) {
    case '/order':
      return order(breaker, request, response);
    case '/browse':
      return answer(response, 200, { skus: [7, 11, 13] });
    case '/healthz': {
      const unready = options.unreadyWhenOpen && !breaker.closed;
      return response.writeHead(unready ? 503 : 200, text).end(unready ? `circuit ${breaker.name} is open\n` : 'ok\n');
    }
    case '/metrics':
      return response.writeHead(200, text).end(metrics(breaker, counts));
    default:
      return answer(response, 404, { error: `no ${request.url} here` });
  }
});
server.on('error', (error) => die(error.message));
server.listen(options.port, '127.0.0.1');
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    breaker.shutdown();
    options.peer.agent.destroy();
    server.close();
    server.closeIdleConnections();
  });
}
