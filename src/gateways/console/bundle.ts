/**
 * Bundles the files of the console. The package build calls it; a server that runs from source calls it on
 * first use.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/**
 * Returns the files by name.
 * @throws the error of esbuild if the source does not build
 */
export async function bundleConsole(): Promise<ReadonlyMap<string, Uint8Array>> {
  const source = (name: string): string => fileURLToPath(new URL(`../../console/${name}`, import.meta.url));
  const { outputFiles } = await build({
    entryPoints: { app: source('app.tsx') },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    outdir: '/',
    write: false,
    legalComments: 'none',
    logLevel: 'silent',
  });
  const files = new Map<string, Uint8Array>(
    outputFiles.map(({ path, contents }) => [basename(path), contents]),
  );
  for (const name of ['index.html', 'icon.svg']) {
    files.set(name, await readFile(source(name)));
  }
  return files;
}
