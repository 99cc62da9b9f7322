/** Refusals of the server as errors of the SDK. */
import { ClientError, type ClientErrorCode, type ClientErrorDetails } from './errors.ts';

const VERDICTS: readonly string[] = [
  'ERR_CURSOR_MALFORMED',
  'ERR_CURSOR_TOO_OLD',
  'ERR_CURSOR_AHEAD',
  'ERR_CURSOR_DIVERGED',
  'ERR_CURSOR_EPOCH',
];

/**
 * The error of the server as a ClientError. A verdict on a cursor keeps its code and where to begin; every other error
 * becomes ERR_REFUSED with the server's code in `serverCode`. `fallback` is the message if `text` is not an error of the
 * server; `details` is what is known besides.
 */
export function parseRefusal(
  text: string,
  fallback: string,
  details: Pick<ClientErrorDetails, 'status' | 'accessId'> = {},
): ClientError {
  let problem: Readonly<Record<string, unknown>> = {};
  try {
    problem = JSON.parse(text) as typeof problem;
  } catch {
    // Not the server's own answer: the fallback says what is known.
  }
  const textOf = (name: string): string | undefined => {
    const value = problem[name];
    return typeof value === 'string' ? value : undefined;
  };
  const serverCode = textOf('code');
  const commonBy = textOf('common_by');
  const isVerdict = serverCode !== undefined && VERDICTS.includes(serverCode);
  return new ClientError(
    isVerdict ? (serverCode as ClientErrorCode) : 'ERR_REFUSED',
    textOf('detail') ?? fallback,
    {
      status: details.status,
      serverCode,
      floor: textOf('floor'),
      common: textOf('common'),
      commonBy: commonBy === 'term' || commonBy === 'trail' ? commonBy : undefined,
      accessId: textOf('access_id') ?? details.accessId,
    },
  );
}
