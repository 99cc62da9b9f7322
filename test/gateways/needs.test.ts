/** A gateway receives the ports and settings that it declares, and nothing else: a secret reaches only its owner. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readConfig, SETTINGS } from '../../src/config.ts';
import { type Gateway, mountGateway, type Ports } from '../../src/gateways/gateway.ts';
import { GATEWAYS } from '../../src/gateways/index.ts';
import type { Setting } from '../../src/settings.ts';

/** Everything that can be asked for, by name. */
const everything = new Proxy({} as Ports, { get: (_target, name) => ({ name }) });

/** Settings that hold a secret, or a URL that may. */
const SECRETS = Object.entries<Setting>(SETTINGS)
  .filter(([name, { isSecret }]) => isSecret || name.startsWith('DATABASE_'))
  .map(([name]) => name);

function givenTo(gateway: Gateway): Record<string, unknown> {
  let given: object = {};
  const observed: Gateway = {
    ...gateway,
    mount(received) {
      given = received;
      return () => undefined;
    },
  };
  mountGateway(observed, everything, readConfig({}));
  return given as Record<string, unknown>;
}

describe('gateways', () => {
  for (const gateway of GATEWAYS) {
    it(`${gateway.name} gets exactly what it declares`, () => {
      const declared = [
        ...gateway.needs.ports,
        ...Object.values(gateway.needs.settings).map(({ key }) => key),
      ];
      assert.deepEqual(Object.keys(givenTo(gateway)).sort(), [...declared].sort());
    });
  }

  it('each secret reaches one gateway at most, its owner', () => {
    const receivers = SECRETS.map((name) => [
      name,
      GATEWAYS.filter(({ needs }) => name in needs.settings).map((gateway) => gateway.name),
    ]);
    assert.deepEqual(Object.fromEntries(receivers), {
      DATABASE_URL: [],
      DATABASE_LISTEN_URL: [],
      LASTSEEN_ADMIN_TOKEN: [],
      LASTSEEN_KEY_SECRET: [],
      LASTSEEN_USERS_SOCKET_API_KEY: ['users-socket'],
      LASTSEEN_DEVICE_SECRET: ['fedecks'],
    });
  });

  it('every gateway has a name and a description of its own', () => {
    const names = GATEWAYS.map(({ name }) => name);
    const descriptions = GATEWAYS.map(({ description }) => description.name);
    assert.equal(new Set(names).size, GATEWAYS.length);
    assert.equal(new Set(descriptions).size, GATEWAYS.length);
  });
});
