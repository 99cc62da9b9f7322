/** `lastseen push` against a server that loses its answers: what it says, and that a repetition appends nothing twice. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type PushStep, startFakeLog } from '../client/fake-log.ts';
import { type Outcome, runCommand } from '../support/process.ts';

const LINE = '{"access_id":"a","created_at":1,"payload":"only"}\n';
const REFUSED: PushStep = { answer: { status: 401, code: 'ERR_UNAUTHENTICATED' } };

interface Played extends Outcome {
  readonly bodies: readonly string[];
  readonly payloads: readonly unknown[];
}

/** Pushes one line by the script, twice. */
async function play(...script: readonly PushStep[]): Promise<{ first: Played; second: Played }> {
  const log = await startFakeLog(script);
  try {
    const push = async (): Promise<Played> => ({
      ...(await runCommand(['push'], { LASTSEEN_URL: log.url }, LINE)),
      bodies: [...log.bodies],
      payloads: [...log.payloads],
    });
    return { first: await push(), second: await push() };
  } finally {
    await log.close();
  }
}

describe('G14: what push says about an event', () => {
  it('a lost answer and a 504 are not known: the same ids are sent until the event is found', async () => {
    const unknown = { status: 504, code: 'ERR_OUTCOME_UNKNOWN' };
    const { first } = await play({ appends: true, answer: 'cut' }, { answer: unknown });
    assert.equal(first.stdout, '1 events pushed, 0 new\n');
    assert.equal(first.bodies.length, 3);
    assert.equal(new Set(first.bodies).size, 1);
    assert.deepEqual(first.payloads, ['only']);
  });

  it('a refusal after a lost answer leaves the outcome open, and the next run settles it', async () => {
    const { first, second } = await play({ appends: true, answer: 'cut' }, REFUSED);
    assert.equal(first.code, 1);
    assert.match(
      first.stderr,
      /event 1 may or may not have been appended \(push the same input again to find out\): 401/,
    );
    assert.equal(second.stdout, '1 events pushed, 0 new\n');
    assert.deepEqual(second.payloads, ['only']);
  });

  it('a refusal alone says that the event was not appended', async () => {
    const { first, second } = await play(REFUSED);
    assert.equal(first.code, 1);
    assert.match(first.stderr, /event 1 failed: 401/);
    assert.equal(second.stdout, '1 events pushed, 1 new\n');
  });
});
