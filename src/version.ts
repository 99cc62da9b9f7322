/** The version of the package, read from its `package.json`. */
import { readFileSync } from 'node:fs';

export function packageVersion(): string {
  for (const parent of ['../', '../../']) {
    try {
      return (
        JSON.parse(readFileSync(new URL(`${parent}package.json`, import.meta.url), 'utf8')) as {
          version: string;
        }
      ).version;
    } catch {
      // `package.json` is one folder above the source and two above the build.
    }
  }
  return 'unknown';
}
