/** A real browser for end-to-end tests: a Chromium that is on the machine, never one that is downloaded. */
import { type Browser, chromium } from 'playwright-core';
import { findChromium } from './programs.ts';

/** Starts it without a window. The caller closes it. @throws Error where there is none: skip by `missing('Chromium')` */
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
