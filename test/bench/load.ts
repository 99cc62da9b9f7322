/** The load: a process that pushes over keep-alive connections as fast as the answers come, and counts. */
import { percentile } from './stats.ts';
import { openWire } from './wire.ts';
import { batchText, ID_DIGITS, pushRequest } from './workload.ts';

export interface LoadJob {
  readonly port: number;
  readonly connections: number;
  readonly batch: number;
  readonly accessIds: number;
  readonly withIds: boolean;
  readonly warmupSeconds: number;
  readonly seconds: number;
}

export interface LoadResult {
  readonly requestsPerSecond: number;
  readonly eventsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Bytes of prepared requests, about. */
const PREPARED_BYTES = 4 * 1024 * 1024;

async function load(job: LoadJob): Promise<LoadResult> {
  const count = Math.max(job.connections, Math.min(1_000, Math.ceil(PREPARED_BYTES / (job.batch * 210))));
  const zeros = job.withIds ? '0'.repeat(ID_DIGITS) : undefined;
  const requests = Array.from({ length: count }, (_, at) =>
    pushRequest(batchText(at * job.batch, job.batch, job.accessIds, zeros)),
  );
  const idsAt = requests.map((request) => (zeros === undefined ? [] : placesOf(request, `"${zeros}"`)));
  const wires = await Promise.all(Array.from({ length: job.connections }, () => openWire(job.port)));
  const tookMs: number[] = [];
  // Ids of another run never come back.
  let nextId = Date.now() * 1_000;
  let next = 0;
  let isCounting = false;
  let isOver = false;

  for (const wire of wires) {
    const push = (): void => {
      const at = next++ % count;
      const request = requests[at];
      if (request === undefined) {
        return;
      }
      for (const place of idsAt[at] ?? []) {
        request.write(String(nextId++), place, 'latin1');
      }
      const sentAt = performance.now();
      wire.send(request, () => {
        if (isCounting) {
          tookMs.push(performance.now() - sentAt);
        }
        if (!isOver) {
          push();
        }
      });
    };
    push();
  }
  await sleep(job.warmupSeconds);
  isCounting = true;
  const start = performance.now();
  await sleep(job.seconds);
  isCounting = false;
  isOver = true;
  const seconds = (performance.now() - start) / 1_000;
  for (const wire of wires) {
    wire.close();
  }
  const requestsPerSecond = tookMs.length / seconds;
  return {
    requestsPerSecond,
    eventsPerSecond: requestsPerSecond * job.batch,
    p50Ms: percentile(tookMs, 0.5),
    p99Ms: percentile(tookMs, 0.99),
  };
}

/** Where the text between the quotes begins, each time. */
function placesOf(request: Buffer, quoted: string): number[] {
  const places: number[] = [];
  for (let at = request.indexOf(quoted); at !== -1; at = request.indexOf(quoted, at + 1)) {
    places.push(at + 1);
  }
  return places;
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
}

process.send?.(await load(JSON.parse(process.argv[2] ?? '') as LoadJob));
