/** Converts descriptions to an AsyncAPI 3.0 document of the connections that stay open. */
import type { ChannelDescription, Description } from '../../http/description.ts';
import { createSchemaCollector, type Json } from './json-schema.ts';

const SERVERS_BY_KIND: Readonly<Record<ChannelDescription['kind'], readonly string[]>> = {
  websocket: ['sockets', 'secureSockets'],
  'event-stream': ['http', 'secureHttp'],
};

/** Builds the document. */
export function asyncApiOf(descriptions: readonly Description[], version: string): Json {
  const schemas = createSchemaCollector('draft-07');
  const channels: Record<string, Json> = {};
  const operations: Record<string, Json> = {};
  for (const [name, channel] of descriptions.flatMap((description) =>
    Object.entries(description.channels ?? {}),
  )) {
    channels[name] = {
      address: channel.address,
      title: channel.summary,
      description: channel.text,
      servers: SERVERS_BY_KIND[channel.kind].map((server) => ({ $ref: `#/servers/${server}` })),
      messages: Object.fromEntries(
        Object.entries(channel.messages).map(([message, { summary, payload, contentType }]) => [
          message,
          {
            name: message,
            summary,
            contentType: contentType ?? 'application/json',
            payload: schemas.schemaOf(payload),
          },
        ]),
      ),
    };
    for (const from of ['client', 'server'] as const) {
      const messages = Object.entries(channel.messages).filter(([, message]) => message.from === from);
      if (messages.length === 0) {
        continue;
      }
      // AsyncAPI describes operations from the view of the server.
      operations[from === 'client' ? `${name}Receive` : `${name}Send`] = {
        action: from === 'client' ? 'receive' : 'send',
        channel: { $ref: `#/channels/${name}` },
        messages: messages.map(([message]) => ({ $ref: `#/channels/${name}/messages/${message}` })),
      };
    }
  }
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Lastseen',
      version,
      description:
        'The connections that deliver events as the server appends them. /openapi.json describes the other routes.',
      license: { name: 'MIT' },
    },
    servers: {
      sockets: serverOf('ws'),
      secureSockets: serverOf('wss'),
      http: serverOf('http'),
      secureHttp: serverOf('https'),
    },
    defaultContentType: 'application/json',
    channels,
    operations,
    components: {
      schemas: schemas.collected,
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    },
  };
}

function serverOf(protocol: string): Json {
  return {
    host: '{host}',
    protocol,
    variables: {
      host: { default: '127.0.0.1:8080', description: 'the address of the server or of its proxy' },
    },
    security: [{ $ref: '#/components/securitySchemes/bearer' }],
  };
}
