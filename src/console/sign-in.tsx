/** The door: a token, held in memory until the page is closed or left. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError } from './answer.ts';
import { type Api, createApi } from './api.ts';
import { ErrorNotice } from './notice.tsx';
import { useTask } from './task.ts';

export function SignIn({ onSignedIn }: { readonly onSignedIn: (api: Api) => void }): VNode {
  const [token, setToken] = useState('');
  const task = useTask();
  const signIn = (): void => {
    task.run(async () => {
      const given = token.trim();
      const api = createApi(location.origin, given === '' ? undefined : given);
      try {
        await api.text('GET', '/metrics');
      } catch (error) {
        // A token without the scope `admin` is a good one: each view says what it lacks.
        if (!(error instanceof ApiError) || error.status !== 403) {
          throw error;
        }
      }
      onSignedIn(api);
    });
  };
  return (
    <main class="door">
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          signIn();
        }}
      >
        <h1 class="wordmark">
          <Mark /> lastseen
        </h1>
        <p class="muted">Sign in to the console of {location.host}.</p>
        <label>
          Token
          <input
            type="password"
            autocomplete="off"
            spellcheck={false}
            autofocus
            value={token}
            onInput={(event) => {
              setToken(event.currentTarget.value);
            }}
          />
          <small>
            The admin token, or one with the scopes you need. It stays in the memory of this page. Leave it
            empty where authentication is open.
          </small>
        </label>
        <ErrorNotice error={task.error} />
        <button type="submit" class="primary" disabled={task.isRunning}>
          {task.isRunning ? 'Signing in …' : 'Sign in'}
        </button>
      </form>
    </main>
  );
}

export function Mark(): VNode {
  return (
    <svg class="mark" viewBox="0 0 16 16" width="22" height="22" aria-hidden="true">
      <rect width="16" height="16" rx="3.5" fill="currentColor" />
      <path class="mark-lines" d="M3.5 5h6M3.5 8h9M3.5 11h4" stroke-width="1.5" stroke-linecap="round" />
      <circle class="mark-dot" cx="11" cy="11" r="1.6" />
    </svg>
  );
}
