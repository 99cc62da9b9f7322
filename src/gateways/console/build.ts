/** `npm run build:console`: writes the files of the console to `dist/console`. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleConsole } from './bundle.ts';

const directory = join(import.meta.dirname, '../../../dist/console');
await mkdir(directory, { recursive: true });
for (const [name, contents] of await bundleConsole()) {
  await writeFile(join(directory, name), contents);
}
