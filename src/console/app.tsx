/** The console: the door, and behind it a view for each thing an operator does. Views stay as they are left. */
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { type ComponentType, render, type VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { AccessView } from './access.tsx';
import type { Api } from './api.ts';
import { ClientsView } from './clients.tsx';
import { SharedContext } from './context.ts';
import { FlowView } from './flow.tsx';
import { count } from './format.ts';
import { QueryView } from './query.tsx';
import { type SamplesState, useSamples } from './samples.ts';
import { Mark, SignIn } from './sign-in.tsx';
import { TailView } from './tail.tsx';
import { useTheme } from './theme.ts';
import { UsersView } from './users.tsx';
import type { ViewProps } from './view.ts';
import { WiresView } from './wires.tsx';

interface View {
  readonly title: string;
  readonly component: ComponentType<ViewProps>;
}

const VIEWS: Readonly<Record<string, View>> = {
  tail: { title: 'Tail', component: TailView },
  connected: { title: 'Connected', component: ClientsView },
  query: { title: 'Query', component: QueryView },
  flow: { title: 'Flow', component: FlowView },
  users: { title: 'Users', component: UsersView },
  access: { title: 'Access', component: AccessView },
  api: { title: 'API', component: WiresView },
};

const FIRST = 'tail';

function viewOfHash(): string {
  const name = location.hash.slice(1);
  return name in VIEWS ? name : FIRST;
}

function App(): VNode {
  const [api, setApi] = useState<Api | undefined>();
  const [theme, toggleTheme] = useTheme();
  if (api === undefined) {
    return <SignIn onSignedIn={setApi} />;
  }
  return (
    <SharedContext.Provider value={{ api, theme }}>
      <Shell
        isDark={theme === 'dark'}
        onTheme={toggleTheme}
        onSignOut={() => {
          setApi(undefined);
        }}
      />
    </SharedContext.Provider>
  );
}

function Shell(props: {
  readonly isDark: boolean;
  readonly onTheme: () => void;
  readonly onSignOut: () => void;
}): VNode {
  const [name, setName] = useState(viewOfHash());
  const [visited, setVisited] = useState<ReadonlySet<string>>(new Set([name]));
  const samples = useSamples();
  useEffect(() => {
    const look = (): void => {
      const next = viewOfHash();
      setName(next);
      setVisited((before) => new Set([...before, next]));
    };
    addEventListener('hashchange', look);
    return () => {
      removeEventListener('hashchange', look);
    };
  }, []);
  useEffect(() => {
    document.title = `${VIEWS[name]?.title ?? ''} · Lastseen`;
  }, [name]);
  return (
    <div class="shell">
      <header>
        <a class="wordmark" href="#tail" aria-label="Lastseen console">
          <Mark /> lastseen
        </a>
        <Status samples={samples} />
        <button type="button" class="quiet" aria-pressed={props.isDark} onClick={props.onTheme}>
          Dark
        </button>
        <button type="button" class="quiet" onClick={props.onSignOut}>
          Sign out
        </button>
      </header>
      <nav aria-label="Views">
        {Object.entries(VIEWS).map(([key, { title }]) => (
          <a key={key} href={`#${key}`} aria-current={key === name ? 'page' : undefined}>
            {title}
          </a>
        ))}
      </nav>
      <main>
        {Object.entries(VIEWS)
          .filter(([key]) => visited.has(key))
          .map(([key, { title, component: Component }]) => (
            <section key={key} hidden={key !== name} aria-label={title}>
              <Component isShown={key === name} samples={samples} />
            </section>
          ))}
      </main>
    </div>
  );
}

/** The node in a word: reachable or not, and how far its log reaches. */
function Status({ samples }: { readonly samples: SamplesState }): VNode {
  const head = samples.latest?.values.get('lastseen_head_position');
  const isLost = samples.error !== undefined && samples.isUnreachable;
  return (
    <p class="status" role="status">
      <span class={`dot ${isLost ? 'bad' : 'good'}`} aria-hidden="true" />
      {isLost ? 'Unreachable' : 'Online'}
      {head === undefined || isLost ? null : <span class="muted wide"> · head {count(head)}</span>}
    </p>
  );
}

const root = document.getElementById('app');
if (root !== null) {
  render(<App />, root);
}
