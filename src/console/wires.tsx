/** What the server serves, to be read: every route and every wire that stays open, as it describes them itself. */
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { useApi } from './context.ts';
import { Empty, ErrorNotice, Loading } from './notice.tsx';
import { useTask } from './task.ts';
import type { ViewProps } from './view.ts';
import { channelsOf, type ChannelText, routesOf, type RouteText } from './wire-description.ts';

interface Described {
  readonly routes: readonly RouteText[];
  readonly channels: readonly ChannelText[];
}

export function WiresView({ isShown }: ViewProps): VNode {
  const api = useApi();
  const [described, setDescribed] = useState<Described | undefined>();
  const [filter, setFilter] = useState('');
  const load = useTask();
  useEffect(() => {
    if (!isShown || described !== undefined) {
      return;
    }
    load.run(async () => {
      const [openapi, asyncapi] = await Promise.all([
        api.json('GET', '/openapi.json'),
        api.json('GET', '/asyncapi.json'),
      ]);
      setDescribed({ routes: routesOf(openapi), channels: channelsOf(asyncapi) });
    });
  }, [isShown]);

  const wanted = filter.trim().toLowerCase();
  const routes = (described?.routes ?? []).filter(({ method, path, summary, tag }) =>
    `${method} ${path} ${summary} ${tag}`.toLowerCase().includes(wanted),
  );
  const channels = (described?.channels ?? []).filter(({ address, title, text }) =>
    `${address} ${title} ${text}`.toLowerCase().includes(wanted),
  );
  return (
    <div class="stack">
      <h1>API</h1>
      <p class="muted">
        What this server serves, as it says of itself in{' '}
        <a href="/openapi.json" target="_blank" rel="noreferrer">
          openapi.json
        </a>{' '}
        and{' '}
        <a href="/asyncapi.json" target="_blank" rel="noreferrer">
          asyncapi.json
        </a>
        .
      </p>
      <ErrorNotice error={load.error} />
      {described === undefined ? (
        load.error === undefined ? (
          <Loading what="the description" />
        ) : null
      ) : (
        <>
          <label class="grow">
            Filter
            <input
              type="search"
              value={filter}
              placeholder="path, word or room"
              onInput={(event) => {
                setFilter(event.currentTarget.value);
              }}
            />
          </label>
          {routes.length + channels.length === 0 ? <Empty title="Nothing is served under that word" /> : null}
          {routes.length === 0 ? null : (
            <section class="wires">
              <h2>Routes</h2>
              {routes.map((route) => (
                <Route key={route.id} route={route} />
              ))}
            </section>
          )}
          {channels.length === 0 ? null : (
            <section class="wires">
              <h2>Wires that stay open</h2>
              {channels.map((channel) => (
                <Channel key={channel.id} channel={channel} />
              ))}
            </section>
          )}
        </>
      )}
    </div>
  );
}

function Route({ route }: { readonly route: RouteText }): VNode {
  return (
    <details class="card wire" id={route.id}>
      <summary>
        <span class={`method ${route.method.toLowerCase()}`}>{route.method}</span>
        <code>{route.path}</code>
        <span class="muted">{route.needs}</span>
        <span class="wire-summary">{route.summary}</span>
      </summary>
      {route.parameters.length === 0 ? null : (
        <Facts title="Parameters" facts={route.parameters.map(({ name, text }) => [name, text])} />
      )}
      {route.bodies.map(({ type, schema }) => (
        <Schema key={type} title={type} schema={schema} />
      ))}
      <Facts title="Answers" facts={route.answers.map(({ status, text }) => [status, text])} />
    </details>
  );
}

function Channel({ channel }: { readonly channel: ChannelText }): VNode {
  return (
    <details class="card wire" id={channel.id}>
      <summary>
        <span class="method">WIRE</span>
        <code>{channel.address}</code>
        <span class="wire-summary">{channel.title}</span>
      </summary>
      <p>{channel.text}</p>
      {channel.messages.map(({ name, isFromClient, summary, schema }) => (
        <Schema
          key={name}
          title={`${isFromClient ? 'from the client' : 'from the server'}: ${summary}`}
          schema={schema}
        />
      ))}
    </details>
  );
}

function Facts(props: {
  readonly title: string;
  readonly facts: readonly (readonly [name: string, text: string])[];
}): VNode {
  return (
    <>
      <h3>{props.title}</h3>
      <dl class="wire-facts">
        {props.facts.map(([name, text]) => (
          <div key={name}>
            <dt>
              <code>{name}</code>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function Schema(props: { readonly title: string; readonly schema: string }): VNode {
  return (
    <>
      <h3>{props.title}</h3>
      <pre class="schema">
        <code>{props.schema}</code>
      </pre>
    </>
  );
}
