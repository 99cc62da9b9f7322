/** Schemas of zod as JSON Schema, those with an id collected in one place. Pure. */
import { z } from 'zod';

export type Json = Readonly<Record<string, unknown>>;

export interface SchemaCollector {
  /** The schema of what comes in. What has an id becomes a reference. */
  schemaOf(schema: z.ZodType): Json;
  /** By id. */
  readonly collected: Readonly<Record<string, Json>>;
}

/** What stands in `#/components/schemas` of either document. */
export function createSchemaCollector(target: 'draft-2020-12' | 'draft-07'): SchemaCollector {
  const collected: Record<string, Json> = {};
  return {
    collected,
    schemaOf(schema) {
      const converted = z.toJSONSchema(schema, {
        target,
        io: 'input',
        unrepresentable: 'any',
        override({ jsonSchema }) {
          // A number that is written in a URL is read from text: its type is what the writer must know.
          if (jsonSchema.type === 'integer') {
            delete jsonSchema.pattern;
          }
        },
      });
      const { $defs, definitions, ...plain } = rewriteReferences(converted) as Record<string, unknown>;
      Object.assign(collected, $defs, definitions);
      delete plain['$schema'];
      return plain;
    },
  };
}

/** References into a schema's own definitions, turned to the common ones. */
function rewriteReferences(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(rewriteReferences);
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]): [string, unknown][] => {
      if (key === '$ref' && typeof inner === 'string') {
        return [[key, inner.replace(/^#\/(\$defs|definitions)\//, '#/components/schemas/')]];
      }
      // Our own name for it, of no use to a reader.
      if (key === 'id' && typeof inner === 'string') {
        return [];
      }
      return [[key, rewriteReferences(inner)]];
    }),
  );
}
