#!/usr/bin/env node
/** The command. It is plain JavaScript, so that a Node that is too old gets a line that says so, and not a crash. */
import { existsSync } from 'node:fs';
import process from 'node:process';
import { URL } from 'node:url';

// A checkout runs its sources; the package has what was built from them.
const source = new URL('../src/cli/main.ts', import.meta.url);
const isCheckout = existsSync(source);

const [major] = process.versions.node.split('.');
if (Number(major) < 22) {
  refuse('lastseen needs Node 22 or later');
}
if (isCheckout && !process.features.typescript) {
  refuse('lastseen needs Node 22.18 or later to run from source');
}

await import(isCheckout ? source.href : new URL('../dist/src/cli/main.js', import.meta.url).href);

/** @param {string} reason */
function refuse(reason) {
  process.stderr.write(`${reason}, this is ${process.version}\n`);
  process.exit(1);
}
