/** Users, over JSON:API: registering, finding, removing, and giving them a token. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { listOf, objectOf } from './answer.ts';
import { JSON_API } from './api.ts';
import { useApi } from './context.ts';
import { Confirm, Secrets } from './dialog.tsx';
import { count } from './format.ts';
import { Empty, ErrorNotice, Loading } from './notice.tsx';
import { useTask } from './task.ts';

interface User {
  readonly id: string;
  readonly nickname: string | null;
  readonly stampsCollected: number;
}

interface Page {
  readonly users: readonly User[];
  /** Path of what comes after. */
  readonly next: string | undefined;
}

const BASE = '/api/json/accounts/users';
const FIRST = `${BASE}?page[size]=25`;

export function UsersView(): VNode {
  const api = useApi();
  const [page, setPage] = useState<Page | undefined>();
  const [nickname, setNickname] = useState('');
  const [sought, setSought] = useState('');
  const [removing, setRemoving] = useState<User | undefined>();
  const [issued, setIssued] = useState<Readonly<Record<string, string>> | undefined>();
  const [said, setSaid] = useState('');
  const list = useTask();
  const act = useTask();

  async function load(path: string, before: readonly User[] = []): Promise<void> {
    const found = pageOf(await api.json('GET', path, { accept: JSON_API }));
    setPage({ ...found, users: [...before, ...found.users] });
  }

  function search(text: string): void {
    list.run(() => load(text === '' ? FIRST : `${FIRST}&filter[nickname]=${encodeURIComponent(text)}`));
  }
  useEffect(() => {
    search('');
  }, []);

  function register(): void {
    act.run(async () => {
      const body = { data: { type: 'user', attributes: { nickname } } };
      await api.json('POST', BASE, { body, contentType: JSON_API, accept: JSON_API });
      setSaid(nickname === '' ? 'A user was registered.' : `${nickname} was registered.`);
      setNickname('');
      await load(FIRST);
    });
  }

  function remove(user: User): void {
    act.run(async () => {
      await api.json('DELETE', `${BASE}/${user.id}`, { accept: JSON_API });
      setSaid(`${user.nickname ?? user.id} was removed.`);
      await load(FIRST);
    });
  }

  function issue(user: User): void {
    act.run(async () => {
      const answer = objectOf(await api.json('POST', `${BASE}/${user.id}/tokens`));
      setIssued({
        access_token: String(answer['access_token']),
        refresh_token: String(answer['refresh_token']),
      });
    });
  }

  return (
    <div class="stack">
      <h1>Users</h1>
      <div class="row">
        <form
          class="row grow"
          onSubmit={(event) => {
            event.preventDefault();
            search(sought.trim());
          }}
        >
          <label class="grow">
            Nickname
            <input
              type="search"
              value={sought}
              placeholder="exactly as it was given"
              onInput={(event) => {
                setSought(event.currentTarget.value);
              }}
            />
          </label>
          <button type="submit">Find</button>
        </form>
        <form
          class="row grow"
          onSubmit={(event) => {
            event.preventDefault();
            register();
          }}
        >
          <label class="grow">
            New user
            <input
              value={nickname}
              placeholder="nickname, or none"
              autocomplete="off"
              onInput={(event) => {
                setNickname(event.currentTarget.value);
              }}
            />
          </label>
          <button type="submit" class="primary" disabled={act.isRunning}>
            Register
          </button>
        </form>
      </div>
      <p class="muted" role="status" aria-label="What was done">
        {said === '' ? "A user's id is its own access_id." : said}
      </p>
      <ErrorNotice error={act.error ?? list.error} />
      {page === undefined ? (
        list.error === undefined ? (
          <Loading what="users" />
        ) : null
      ) : page.users.length === 0 ? (
        <Empty title="No users">Whoever has a token may register one; so may you, above.</Empty>
      ) : (
        <div class="scroll" tabIndex={0} role="region" aria-label="Users found">
          <table>
            <thead>
              <tr>
                <th scope="col">Nickname</th>
                <th scope="col">id</th>
                <th scope="col" class="number">
                  Stamps
                </th>
                <th scope="col">
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {page.users.map((user) => (
                <tr key={user.id}>
                  <th scope="row">{user.nickname ?? <span class="muted">none</span>}</th>
                  <td>
                    <code>{user.id}</code>
                  </td>
                  <td class="number">{count(user.stampsCollected)}</td>
                  <td class="end">
                    <button
                      type="button"
                      class="small"
                      aria-label={`Give ${user.nickname ?? user.id} a token`}
                      onClick={() => {
                        issue(user);
                      }}
                    >
                      Token
                    </button>{' '}
                    <button
                      type="button"
                      class="small danger"
                      aria-label={`Remove ${user.nickname ?? user.id}`}
                      onClick={() => {
                        setRemoving(user);
                      }}
                    >
                      Remove
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {page?.next === undefined ? null : (
        <button
          type="button"
          disabled={list.isRunning}
          onClick={() => {
            const { next, users } = page;
            if (next !== undefined) {
              list.run(() => load(next, users));
            }
          }}
        >
          More
        </button>
      )}
      {removing === undefined ? null : (
        <Confirm
          title={`Remove ${removing.nickname ?? removing.id}?`}
          action="Remove"
          onClose={() => {
            setRemoving(undefined);
          }}
          onConfirm={() => {
            remove(removing);
          }}
        >
          <p>
            Its tokens are revoked and its connections closed. The events of its access_id stay in the log.
          </p>
        </Confirm>
      )}
      {issued === undefined ? null : (
        <Secrets
          title="A token for this user"
          values={issued}
          onClose={() => {
            setIssued(undefined);
          }}
        />
      )}
    </div>
  );
}

function pageOf(answer: unknown): Page {
  const { data, links } = objectOf(answer);
  const { next } = objectOf(links);
  return {
    next: typeof next === 'string' ? next : undefined,
    users: listOf(data).map((resource) => {
      const { nickname, stamps_collected: stamps } = objectOf(resource['attributes']);
      return {
        id: String(resource['id']),
        nickname: typeof nickname === 'string' ? nickname : null,
        stampsCollected: Number(stamps),
      };
    }),
  };
}
