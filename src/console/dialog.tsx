/** Questions before what cannot be undone, and secrets that are shown once. */
import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';

/** A modal dialog: the browser keeps the focus in it, and Escape closes it. */
export function Dialog(props: {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={props.onClose}>
      <h2 id={id}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

export function Confirm(props: {
  readonly title: string;
  readonly action: string;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
}): VNode {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      {props.children}
      <div class="actions">
        <button type="button" onClick={props.onClose}>
          Cancel
        </button>
        <button
          type="button"
          class="danger"
          onClick={() => {
            props.onConfirm();
            props.onClose();
          }}
        >
          {props.action}
        </button>
      </div>
    </Dialog>
  );
}

/** Values that the server gives once and keeps only hashed. */
export function Secrets(props: {
  readonly title: string;
  readonly values: Readonly<Record<string, string>>;
  readonly onClose: () => void;
}): VNode {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p class="muted">Shown this once. The server keeps a hash only: copy it now.</p>
      <dl class="secrets">
        {Object.entries(props.values).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <code>{value}</code>
              <CopyButton text={value} label={`Copy ${name}`} />
            </dd>
          </div>
        ))}
      </dl>
      <div class="actions">
        <button type="button" class="primary" onClick={props.onClose}>
          Done
        </button>
      </div>
    </Dialog>
  );
}

export function CopyButton({ text, label }: { readonly text: string; readonly label: string }): VNode {
  const [said, setSaid] = useState('Copy');
  return (
    <button
      type="button"
      class="small"
      aria-label={`${label}${said === 'Copy' ? '' : `: ${said}`}`}
      onClick={() => {
        navigator.clipboard.writeText(text).then(
          () => setSaid('Copied'),
          () => setSaid('Not allowed'),
        );
      }}
    >
      {said}
    </button>
  );
}
