// A connector that pushes the lines of a file in batches and can run again: each line has an id made from its content and
// its number, so that a line is appended once. (The server refuses the same id with other content, such as another
// created_at.)
//
//   npm install ./lastseen-0.1.0.tgz   # made by `npm pack`
//   LASTSEEN_URL=http://127.0.0.1:8080 LASTSEEN_CLIENT_ID=… LASTSEEN_CLIENT_SECRET=… node connector.mjs client1 file.log
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { createPublisher, createTokenCache, lastseenIssuer } from 'lastseen/client';

const [accessId = 'client1', file = 'file.log'] = process.argv.slice(2);
const url = process.env.LASTSEEN_URL ?? 'http://127.0.0.1:8080';
const token = createTokenCache({
  issue: lastseenIssuer({
    url,
    clientId: process.env.LASTSEEN_CLIENT_ID ?? '',
    clientSecret: process.env.LASTSEEN_CLIENT_SECRET ?? '',
  }),
});
const publisher = createPublisher({ url, token });

/** Results that are awaited together, so that the file is read no faster than the server accepts it. */
const IN_FLIGHT = 5_000;
let waiting = [];
let pushed = 0;
let repeated = 0;

async function settle() {
  for (const [result] of await Promise.all(waiting)) {
    if (!result.ok) throw result.error;
    pushed += 1;
    if (result.duplicate) repeated += 1;
  }
  waiting = [];
}

let number = 0;
for await (const line of createInterface({ input: createReadStream(file) })) {
  number += 1;
  if (line === '') continue;
  const id = createHash('sha256').update(`${number}\n${line}`).digest('base64url');
  waiting.push(publisher.push({ accessId, createdAt: number, id, payload: { line } }));
  if (waiting.length >= IN_FLIGHT) await settle();
}
await settle();
await publisher.close();
token.close();
console.log(`${pushed} lines pushed, ${repeated} of them were there already`);
