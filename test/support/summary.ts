/** The last lines of a run: how many tests ran and failed, which were skipped and why, and what was left behind. */
import { relative } from 'node:path';
import type { TestsStream } from 'node:test';
import { LEFT_BEHIND } from './possessions.ts';

export interface Summary {
  /** Tests that passed, failed or were skipped. */
  readonly count: number;
  /** The lines, without the last line break. */
  text(): string;
}

interface Skipped {
  tests: number;
  suites: number;
  readonly files: Set<string>;
}

const ROOT = new URL('../..', import.meta.url).pathname;

/** Listens to the run from now on. `slowest` is how many of the slowest files are named. */
export function summarize(run: TestsStream, slowest: number): Summary {
  const startMs = performance.now();
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const reasons = new Map<string, Skipped>();
  const left: string[] = [];
  const files: { readonly name: string; readonly ms: number }[] = [];
  const nameOf = (file: string | undefined): string => relative(ROOT, file ?? '');

  run.on('test:pass', ({ details, file, name, skip }) => {
    if (isEmptyFile({ name, file })) {
      return;
    }
    const isSuite = details.type === 'suite';
    if (skip === undefined || skip === false) {
      counts.passed += isSuite ? 0 : 1;
      return;
    }
    const reason = skip === true || skip === '' ? 'no reason was given' : skip;
    const skipped = reasons.get(reason) ?? { tests: 0, suites: 0, files: new Set() };
    reasons.set(reason, skipped);
    skipped.files.add(nameOf(file));
    if (isSuite) {
      skipped.suites += 1;
    } else {
      skipped.tests += 1;
      counts.skipped += 1;
    }
  });
  run.on('test:fail', ({ details }) => {
    counts.failed += details.type === 'suite' ? 0 : 1;
  });
  run.on('test:stderr', ({ file, message }) => {
    for (const line of message.split('\n')) {
      if (line.startsWith(LEFT_BEHIND)) {
        left.push(`${nameOf(file)} ${line}`);
      }
    }
  });
  run.on('test:summary', ({ duration_ms: ms, file }) => {
    if (file !== undefined) {
      files.push({ name: nameOf(file), ms });
    }
  });

  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  return {
    get count() {
      return counts.passed + counts.failed + counts.skipped;
    },
    text() {
      const { passed, failed, skipped } = counts;
      const slow = files.sort((a, b) => b.ms - a.ms).slice(0, slowest);
      return [
        ...slow.map(({ name, ms }) => `${seconds(ms).padStart(8)}  ${name}`),
        ...left,
        ...[...reasons].map(
          ([reason, { tests, suites, files: where }]) =>
            `skipped: ${quantities({ tests, suites })}: ${reason} (${[...where].join(', ')})`,
        ),
        `${quantity(passed + failed, 'test')} ran in ${seconds(performance.now() - startMs)}: ${failed} failed. ${skipped} skipped`,
      ].join('\n');
    },
  };
}

/** A file without a test that matches passes as a test of its own name. */
export function isEmptyFile({
  name,
  file,
}: {
  readonly name: string;
  readonly file?: string | undefined;
}): boolean {
  return name === file;
}

/** A suite that is skipped does not say how many tests it has. */
function quantities({ tests, suites }: Pick<Skipped, 'tests' | 'suites'>): string {
  return [
    ...(tests === 0 ? [] : [quantity(tests, 'test')]),
    ...(suites === 0 ? [] : [quantity(suites, 'suite')]),
  ].join(' and ');
}

const quantity = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
