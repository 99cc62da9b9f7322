/** The figures of the node, looked at every two seconds for as long as the console is open. */
import { useState } from 'preact/hooks';
import { ApiError } from './answer.ts';
import { useApi } from './context.ts';
import { parseMetrics, type Sample } from './prometheus.ts';
import { usePolling } from './task.ts';

export interface SamplesState {
  /** Oldest first, `MAX_SAMPLES` at most. */
  readonly all: readonly Sample[];
  readonly latest: Sample | undefined;
  readonly error: Error | undefined;
  /** True when the last answer was none at all. */
  readonly isUnreachable: boolean;
}

const EVERY_MS = 2_000;

/** Ten minutes of them. */
const MAX_SAMPLES = 300;

export function useSamples(): SamplesState {
  const api = useApi();
  const [state, setState] = useState<SamplesState>({
    all: [],
    latest: undefined,
    error: undefined,
    isUnreachable: false,
  });
  const isForbidden = state.error instanceof ApiError && state.error.status === 403;
  usePolling(
    async () => {
      try {
        const sample = parseMetrics(await api.text('GET', '/metrics'), Date.now());
        setState(({ all }) => ({
          all: [...all.slice(1 - MAX_SAMPLES), sample],
          latest: sample,
          error: undefined,
          isUnreachable: false,
        }));
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown : new Error(String(thrown));
        const isUnreachable = !(error instanceof ApiError) || error.status === 0;
        setState((before) => ({ ...before, error, isUnreachable }));
      }
    },
    EVERY_MS,
    // A token that may not see them will not be allowed to in two seconds either.
    !isForbidden,
  );
  return state;
}
