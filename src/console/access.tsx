/** Who may do what: tokens, and the clients of connectors. Each is made, shown once, and taken back. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { listOf, objectOf } from './answer.ts';
import { useApi } from './context.ts';
import { Confirm, Secrets } from './dialog.tsx';
import { time } from './format.ts';
import { type Grant, GrantForm } from './grant-form.tsx';
import { Empty, ErrorNotice, Loading } from './notice.tsx';
import { useTask } from './task.ts';

/** What tokens and clients have in common here. */
interface Kind {
  readonly path: string;
  readonly title: string;
  /** One of them. */
  readonly noun: string;
  readonly about: string;
  readonly empty: string;
  /** Names the row, for revoking it. */
  readonly key: string;
  readonly nameField: 'sub' | 'name';
  readonly action: 'Revoke' | 'Remove';
  readonly warning: string;
  /** Of the answer: what is never shown again. */
  readonly secrets: readonly string[];
  readonly hasEnd: boolean;
}

const TOKENS: Kind = {
  path: '/tokens',
  title: 'Tokens',
  noun: 'token',
  about: 'For readers: each ends by itself, can be refreshed, and can be revoked.',
  empty: 'No token holds',
  key: 'jti',
  nameField: 'sub',
  action: 'Revoke',
  warning: 'Connections that live on it are closed within a second, on every node.',
  secrets: ['access_token', 'refresh_token'],
  hasEnd: true,
};

const CLIENTS: Kind = {
  path: '/oauth/clients',
  title: 'Clients',
  noun: 'client',
  about: 'For connectors: credentials with which they get tokens for themselves.',
  empty: 'There are no clients',
  key: 'client_id',
  nameField: 'name',
  action: 'Remove',
  warning: 'It gets no token any more, those it has hold no longer, and its connections are closed.',
  secrets: ['client_id', 'client_secret'],
  hasEnd: false,
};

export function AccessView(): VNode {
  return (
    <div class="stack">
      <h1>Access</h1>
      <Grants kind={TOKENS} />
      <Grants kind={CLIENTS} />
    </div>
  );
}

type Row = Readonly<Record<string, unknown>>;

function Grants({ kind }: { readonly kind: Kind }): VNode {
  const api = useApi();
  const [rows, setRows] = useState<readonly Row[] | undefined>();
  const [isMaking, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Row | undefined>();
  const [made, setMade] = useState<Readonly<Record<string, string>> | undefined>();
  const [said, setSaid] = useState('');
  const list = useTask();
  const act = useTask();

  async function load(): Promise<void> {
    setRows(listOf(await api.json('GET', kind.path)));
  }
  useEffect(() => {
    list.run(load);
  }, []);

  function make({ name, scope, accessIds, expiresInSeconds }: Grant): void {
    act.run(async () => {
      const body = {
        ...(name === '' ? {} : { [kind.nameField]: name }),
        scope,
        access_ids: accessIds,
        ...(kind.hasEnd ? { expires_in: expiresInSeconds } : {}),
      };
      const answer = objectOf(await api.json('POST', kind.path, { body }));
      setMade(Object.fromEntries(kind.secrets.map((field) => [field, String(answer[field])])));
      setMaking(false);
      await load();
    });
  }

  function revoke(row: Row): void {
    act.run(async () => {
      await api.json('DELETE', `${kind.path}/${encodeURIComponent(String(row[kind.key]))}`);
      setSaid(
        `The ${kind.noun} of ${String(row[kind.nameField])} is ${kind.action === 'Revoke' ? 'revoked' : 'removed'}.`,
      );
      await load();
    });
  }

  return (
    <section class="card stack" aria-label={kind.title}>
      <div class="row spread">
        <h2>{kind.title}</h2>
        <button
          type="button"
          aria-expanded={isMaking}
          onClick={() => {
            setMaking(!isMaking);
          }}
        >
          New {kind.noun}
        </button>
      </div>
      <p class="muted" role="status" aria-label={`${kind.title}: what was done`}>
        {said === '' ? kind.about : said}
      </p>
      {isMaking ? (
        <GrantForm
          nameLabel={kind.nameField === 'sub' ? 'Holder (sub)' : 'Name'}
          isNameRequired={kind.nameField === 'name'}
          hasEnd={kind.hasEnd}
          isRunning={act.isRunning}
          onSubmit={make}
        />
      ) : null}
      <ErrorNotice error={act.error ?? list.error} />
      {rows === undefined ? (
        list.error === undefined ? (
          <Loading what={kind.title.toLowerCase()} />
        ) : null
      ) : rows.length === 0 ? (
        <Empty title={kind.empty} />
      ) : (
        <Table kind={kind} rows={rows} onRevoke={setRevoking} />
      )}
      {revoking === undefined ? null : (
        <Confirm
          title={`${kind.action} the ${kind.noun} of ${String(revoking[kind.nameField])}?`}
          action={kind.action}
          onClose={() => {
            setRevoking(undefined);
          }}
          onConfirm={() => {
            revoke(revoking);
          }}
        >
          <p>{kind.warning}</p>
        </Confirm>
      )}
      {made === undefined ? null : (
        <Secrets
          title={`The new ${kind.noun}`}
          values={made}
          onClose={() => {
            setMade(undefined);
          }}
        />
      )}
    </section>
  );
}

function Table(props: {
  readonly kind: Kind;
  readonly rows: readonly Row[];
  readonly onRevoke: (row: Row) => void;
}): VNode {
  const { kind, rows, onRevoke } = props;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={`${kind.title}, a table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">{kind.nameField === 'sub' ? 'Holder' : 'Name'}</th>
            <th scope="col">Scope</th>
            <th scope="col">access_ids</th>
            <th scope="col">{kind.hasEnd ? 'Ends' : 'Made'}</th>
            <th scope="col">{kind.key}</th>
            <th scope="col">
              <span class="hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={String(row[kind.key])}>
              <th scope="row">{String(row[kind.nameField])}</th>
              <td>{String(row['scope'])}</td>
              <td>
                <code>{Array.isArray(row['access_ids']) ? row['access_ids'].join(', ') : ''}</code>
              </td>
              <td class="nowrap">{time(Number(row[kind.hasEnd ? 'expires_at' : 'created_at']))}</td>
              <td>
                <code>{String(row[kind.key])}</code>
              </td>
              <td class="end">
                <button
                  type="button"
                  class="small danger"
                  aria-label={`${kind.action} the ${kind.noun} of ${String(row[kind.nameField])}`}
                  onClick={() => {
                    onRevoke(row);
                  }}
                >
                  {kind.action}
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
