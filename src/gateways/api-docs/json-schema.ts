/** Converts zod schemas to JSON Schema, and collects those with an id. */
import { z } from 'zod';

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

/** Converts schemas. */
export interface SchemaCollector {
  /** Returns the schema of the input. A schema with an id becomes a reference. */
  schemaOf(schema: z.ZodType): Json;
  /** The schemas with an id, by id. */
  readonly collected: Readonly<Record<string, Json>>;
}

/** Creates a collector for `#/components/schemas` of a document. */
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
          // A number in a URL is parsed from text. The reader needs its type and not the pattern.
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

/** Rewrites references to the definitions of a schema as references to the common schemas. */
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
      // The id is internal and of no use to a reader.
      if (key === 'id' && typeof inner === 'string') {
        return [];
      }
      return [[key, rewriteReferences(inner)]];
    }),
  );
}
