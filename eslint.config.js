import js from '@eslint/js';
import importSort from 'eslint-plugin-simple-import-sort';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'data/', 'docs/'] },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // The compiler's own noPropertyAccessFromIndexSignature style: what came from outside is read by ['name'].
      '@typescript-eslint/dot-notation': 'off',
      // Factories return closures: there is no `this` to lose.
      '@typescript-eslint/unbound-method': 'off',
      // Code points are what is counted.
      '@typescript-eslint/no-misused-spread': 'off',
      // Two copies of the types of `ws` name one class.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/consistent-type-definitions': ['error', 'interface'],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
    },
  },
  {
    // A migration that was released is not touched again.
    ignores: ['migrations/**'],
    plugins: { 'import-sort': importSort },
    rules: {
      curly: ['error', 'all'],
      // Node's own, then packages, then the project's, from far to near.
      'import-sort/imports': ['error', { groups: [['^\\u0000', '^node:', '^@?\\w', '^\\.\\./', '^\\./']] }],
      'import-sort/exports': 'error',
    },
  },
  {
    // Time and chance are ports (src/runtime.ts); the console is a page and has the browser's.
    files: ['src/**'],
    ignores: ['src/system-runtime.ts', 'src/console/**'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'performance'].map(
          (name) => ({ name, message: 'Take the port of src/runtime.ts.' }),
        ),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'Take the clock of src/runtime.ts.' },
        {
          object: 'crypto',
          property: 'getRandomValues',
          message: 'Take the random numbers of src/runtime.ts.',
        },
        { object: 'crypto', property: 'randomUUID', message: 'Take the random numbers of src/runtime.ts.' },
        { object: 'Math', property: 'random', message: 'Take the random numbers of src/runtime.ts.' },
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: "NewExpression[callee.name='Date'][arguments.length=0]",
          message: 'Take the clock of src/runtime.ts.',
        },
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: [
            { name: 'node:timers', message: 'Take the timers of src/runtime.ts.' },
            { name: 'node:timers/promises', message: 'Take the timers of src/runtime.ts.' },
            { name: 'node:perf_hooks', message: 'Take the clock of src/runtime.ts.' },
            {
              name: 'node:crypto',
              importNames: ['randomBytes', 'randomUUID', 'randomInt', 'randomFillSync', 'webcrypto'],
              message: 'Take the random numbers of src/runtime.ts.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['test/**'],
    rules: {
      // node:test returns promises that its runner awaits.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            {
              from: 'package',
              name: ['test', 'it', 'describe', 'suite', 'before', 'after', 'beforeEach', 'afterEach'],
              package: 'node:test',
            },
          ],
        },
      ],
    },
  },
  { files: ['*.js', 'bin/*.js'], extends: [tseslint.configs.disableTypeChecked] },
);
