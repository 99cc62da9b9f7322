/** Who is connected, to any node, how far behind; and sending them away. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { listOf } from './answer.ts';
import { useApi } from './context.ts';
import { Confirm } from './dialog.tsx';
import { bytes, count, duration } from './format.ts';
import { Empty, ErrorNotice, Loading } from './notice.tsx';
import { usePolling, useTask } from './task.ts';
import type { ViewProps } from './view.ts';

interface ConnectedClient {
  readonly accessId: string;
  readonly gateway: string;
  readonly since: number;
  readonly cursor: string;
  readonly lag: number;
  readonly bufferedBytes: number;
}

const EVERY_MS = 2_000;

/** Rows drawn at most: more are found by the filter. */
const MAX_ROWS = 500;

export function ClientsView({ isShown }: ViewProps): VNode {
  const api = useApi();
  const [clients, setClients] = useState<readonly ConnectedClient[] | undefined>();
  const [error, setError] = useState<Error | undefined>();
  const [filter, setFilter] = useState('');
  const [dropping, setDropping] = useState<string | undefined>();
  const [isRevoking, setRevoking] = useState(false);
  const [said, setSaid] = useState('');
  const drop = useTask();

  async function load(): Promise<void> {
    try {
      const list = listOf(await api.json('GET', '/clients', { accept: 'application/json' }));
      setClients(
        list.map((client) => ({
          accessId: String(client['access_id']),
          gateway: String(client['gateway']),
          since: Number(client['since']),
          cursor: String(client['cursor']),
          lag: Number(client['lag']),
          bufferedBytes: Number(client['buffered_bytes']),
        })),
      );
      setError(undefined);
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  }
  usePolling(load, EVERY_MS, isShown);

  function confirmDrop(accessId: string): void {
    drop.run(async () => {
      await api.json('POST', '/drop_user', { body: { drop_access_id: accessId, revoke: isRevoking } });
      setSaid(`${accessId} was dropped on every node${isRevoking ? ', and its tokens revoked' : ''}.`);
      await load();
    });
  }

  const found = clients?.filter((client) => client.accessId.includes(filter));
  return (
    <div class="stack">
      <div class="row spread">
        <h1>Connected</h1>
        <label class="inline">
          Filter
          <input
            type="search"
            placeholder="access_id"
            value={filter}
            onInput={(event) => {
              setFilter(event.currentTarget.value);
            }}
          />
        </label>
      </div>
      <p class="muted" role="status" aria-label="What was done">
        {said === '' ? 'Every connection to every node, looked up every two seconds.' : said}
      </p>
      <ErrorNotice error={drop.error ?? error} />
      {found === undefined ? (
        error === undefined ? (
          <Loading what="connections" />
        ) : null
      ) : found.length === 0 ? (
        <Empty title={filter === '' ? 'Nobody is connected' : 'Nobody of that name is connected'}>
          Sockets and event streams appear here when they subscribe.
        </Empty>
      ) : (
        <Table clients={found} onDrop={setDropping} />
      )}
      {dropping === undefined ? null : (
        <Confirm
          title={`Drop ${dropping}?`}
          action="Drop"
          onClose={() => {
            setDropping(undefined);
          }}
          onConfirm={() => {
            confirmDrop(dropping);
          }}
        >
          <p>Every connection of this access_id is closed, on every node. Its events stay in the log.</p>
          <label class="check">
            <input
              type="checkbox"
              checked={isRevoking}
              onChange={(event) => {
                setRevoking(event.currentTarget.checked);
              }}
            />
            Also revoke the tokens issued to it, so that it cannot come back with them
          </label>
        </Confirm>
      )}
    </div>
  );
}

function Table(props: {
  readonly clients: readonly ConnectedClient[];
  readonly onDrop: (accessId: string) => void;
}): VNode {
  const now = Date.now();
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Connections">
      <table>
        <thead>
          <tr>
            <th scope="col">access_id</th>
            <th scope="col" class="number">
              Lag
            </th>
            <th scope="col">Gateway</th>
            <th scope="col" class="number">
              Connected for
            </th>
            <th scope="col" class="number">
              Buffered
            </th>
            <th scope="col">Cursor</th>
            <th scope="col">
              <span class="hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {props.clients.slice(0, MAX_ROWS).map((client, at) => (
            <tr key={`${client.accessId} ${client.since} ${at}`}>
              <th scope="row">{client.accessId}</th>
              <td class="number">
                {client.lag === 0 ? <span class="pill good">live</span> : count(client.lag)}
              </td>
              <td>{client.gateway}</td>
              <td class="number">{duration(Math.max(0, now - client.since))}</td>
              <td class="number">{bytes(client.bufferedBytes)}</td>
              <td>
                <code>{client.cursor}</code>
              </td>
              <td class="end">
                <button
                  type="button"
                  class="small danger"
                  aria-label={`Drop ${client.accessId}`}
                  onClick={() => {
                    props.onDrop(client.accessId);
                  }}
                >
                  Drop
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {props.clients.length > MAX_ROWS ? (
        <p class="muted">
          {MAX_ROWS} of {count(props.clients.length)} are shown: filter to see others.
        </p>
      ) : null}
    </div>
  );
}
