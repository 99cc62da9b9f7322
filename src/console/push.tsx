/** One event, pushed by hand with the SDK. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { createPublisher } from '../client/index.ts';
import { useApi } from './context.ts';
import { count } from './format.ts';
import { ErrorNotice } from './notice.tsx';
import { useTask } from './task.ts';

/** A server that has not taken it by then is said not to have. */
const GIVE_UP_AFTER_MS = 10_000;

export function PushForm({ accessId: followed }: { readonly accessId: string }): VNode {
  const api = useApi();
  const [typed, setTyped] = useState<string | undefined>();
  const [payload, setPayload] = useState('{"hello":"world"}');
  const [done, setDone] = useState<string | undefined>();
  const task = useTask();
  const accessId = typed ?? followed;

  function push(): void {
    setDone(undefined);
    task.run(async () => {
      requireJson(payload);
      const publisher = createPublisher({
        url: api.url,
        giveUpAfterMs: GIVE_UP_AFTER_MS,
        maxDelayMs: 0,
        ...(api.token === undefined ? {} : { token: api.token }),
      });
      const [result] = await publisher.push({ accessId, createdAt: Date.now(), rawPayload: payload });
      void publisher.close();
      if (result?.ok === false) {
        throw result.error;
      }
      if (result !== undefined) {
        setDone(`On disk as version ${count(result.version)}.`);
      }
    });
  }

  return (
    <aside class="card stack" aria-labelledby="push-title">
      <h2 id="push-title">Push a test event</h2>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          push();
        }}
      >
        <label>
          To access_id
          <input
            required
            maxlength={256}
            spellcheck={false}
            autocapitalize="off"
            autocomplete="off"
            placeholder="client1"
            value={accessId}
            onInput={(event) => {
              setTyped(event.currentTarget.value);
            }}
          />
        </label>
        <label>
          Payload, any JSON
          <textarea
            rows={5}
            spellcheck={false}
            value={payload}
            onInput={(event) => {
              setPayload(event.currentTarget.value);
            }}
          />
        </label>
        <ErrorNotice error={task.error} />
        <div class="row">
          <button type="submit" class="primary" disabled={task.isRunning}>
            {task.isRunning ? 'Pushing …' : 'Push'}
          </button>
          <p class="muted" role="status" aria-label="Result of the push">
            {done}
          </p>
        </div>
      </form>
    </aside>
  );
}

/** @throws Error in the reader's words */
function requireJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the payload is not JSON: ${reason}`, { cause: error });
  }
}
