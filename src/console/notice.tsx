/** What a view says when there is nothing to show, when it waits, and when something went wrong. */
import type { ComponentChildren, VNode } from 'preact';
import { ApiError } from './answer.ts';

export function ErrorNotice({ error }: { readonly error: Error | undefined }): VNode | null {
  if (error === undefined) {
    return null;
  }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  const hint =
    error instanceof ApiError && error.status === 403
      ? 'Sign in with a token that has this scope to use this part.'
      : undefined;
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{upper(error.message)}</strong>
        {code === undefined ? null : <code>{code}</code>}
      </p>
      {error instanceof ApiError && error.faults.length > 0 ? (
        <ul>
          {error.faults.map((fault) => (
            <li key={fault}>{fault}</li>
          ))}
        </ul>
      ) : null}
      {hint === undefined ? null : <p>{hint}</p>}
    </div>
  );
}

export function Empty(props: { readonly title: string; readonly children?: ComponentChildren }): VNode {
  return (
    <div class="empty">
      <p class="empty-title">{props.title}</p>
      {props.children === undefined ? null : <p>{props.children}</p>}
    </div>
  );
}

export function Loading({ what }: { readonly what: string }): VNode {
  return (
    <div class="empty" role="status">
      <p class="loading">Loading {what} …</p>
    </div>
  );
}

function upper(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
