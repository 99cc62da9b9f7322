/**
 * express-ws on the `ws` of our own dependencies: it asks for ws 7, which has no `pause`, and npm applies `overrides` only
 * where they stand in the root package, not where ours is installed as a dependency (D25).
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const bundledWs = createRequire(require.resolve('express-ws')).resolve('ws');
const ownWs = require.resolve('ws');

require(ownWs);
if (bundledWs !== ownWs) {
  require.cache[bundledWs] = require.cache[ownWs];
}

export const expressWs = require('express-ws') as typeof import('express-ws');
