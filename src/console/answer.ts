/** Answers of the server, judged. Pure. */

/** What the server said instead of an answer (RFC 9457, or JSON:API's form of it). */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string | undefined;
  readonly faults: readonly string[];

  constructor(status: number, message: string, code?: string, faults: readonly string[] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.faults = faults;
  }
}

interface ProblemText {
  readonly detail?: unknown;
  readonly title?: unknown;
  readonly code?: unknown;
  readonly errors?: unknown;
}

/** The error in an answer that is none. */
export function errorOf(status: number, text: string): ApiError {
  let problem: ProblemText = {};
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null) {
      problem = value;
    }
  } catch {
    // Something in between has answered: its status says what there is to say.
  }
  const errors = Array.isArray(problem.errors) ? (problem.errors as ProblemText[]) : [];
  const main = problem.detail === undefined ? (errors[0] ?? problem) : problem;
  const message = textOf(main.detail) ?? textOf(main.title) ?? `the server answered ${status}`;
  const faults = errors.flatMap((error) => {
    const { pointer } = error as { pointer?: unknown };
    const detail = textOf(error.detail);
    return detail === undefined || detail === message ? [] : [`${textOf(pointer) ?? ''} ${detail}`.trim()];
  });
  return new ApiError(status, message, textOf(main.code), faults);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The members of an answer that should be a list of objects. @throws ApiError when it is none */
export function listOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'object' && item !== null)) {
    return value as readonly Readonly<Record<string, unknown>>[];
  }
  throw new ApiError(0, 'the answer is not what this console expects: is the server of the same version?');
}

/** The members of an answer that should be an object. @throws ApiError when it is none */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return listOf([value])[0] ?? {};
}
