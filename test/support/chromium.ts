/** A real browser for end-to-end tests: a Chromium that is on the machine, never one that is downloaded. */
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The path of the first Chromium on `PATH`; `undefined` where there is none. */
export function findChromium(): string | undefined {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((path) => path !== '');
  for (const name of NAMES) {
    for (const directory of [...directories, '/usr/bin']) {
      const path = join(directory, name);
      if (existsSync(path)) {
        return path;
      }
    }
  }
  return undefined;
}

/** Starts it without a window. The caller closes it. @throws Error where there is none: ask `findChromium` first */
export async function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) {
    throw new Error('there is no Chromium on this machine');
  }
  return chromium.launch({
    executablePath,
    // As root, which containers run tests as, Chromium has no sandbox; shared memory is small there.
    args: [
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      // A page that a test answers itself has no address, and may not open sockets to this machine otherwise.
      '--disable-features=LocalNetworkAccessChecks',
    ],
    timeout: 30_000,
  });
}
