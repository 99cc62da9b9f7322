/**
 * Loads express-ws with the `ws` version of this package. express-ws requires ws 7, which has no `pause`. npm
 * applies `overrides` of the root package, and ignores ours when this package is a dependency (D25).
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const bundledWs = createRequire(require.resolve('express-ws')).resolve('ws');
const ownWs = require.resolve('ws');

require(ownWs);
if (bundledWs !== ownWs) {
  require.cache[bundledWs] = require.cache[ownWs];
}

/** express-ws on our version of `ws`. */
export const expressWs = require('express-ws') as typeof import('express-ws');
