/** What a new token or client is to be allowed. */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';

export interface Grant {
  readonly name: string;
  /** Space-separated. */
  readonly scope: string;
  readonly accessIds: readonly string[];
  readonly expiresInSeconds: number;
}

const SCOPES: readonly (readonly [scope: string, meaning: string])[] = [
  ['push', 'append events'],
  ['subscribe', 'read and follow feeds'],
  ['drop', 'close connections'],
  ['query', 'ask with SQL'],
  ['admin', 'everything'],
];

const HOURS: readonly (readonly [hours: number, text: string])[] = [
  [1, 'an hour'],
  [8, 'eight hours'],
  [24, 'a day'],
];

export function GrantForm(props: {
  readonly nameLabel: string;
  readonly isNameRequired: boolean;
  readonly hasEnd: boolean;
  readonly isRunning: boolean;
  readonly onSubmit: (grant: Grant) => void;
}): VNode {
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<ReadonlySet<string>>(new Set(['subscribe']));
  const [accessIds, setAccessIds] = useState('');
  const [hours, setHours] = useState(1);
  return (
    <form
      class="stack inset"
      onSubmit={(event) => {
        event.preventDefault();
        props.onSubmit({
          name: name.trim(),
          scope: SCOPES.map(([scope]) => scope)
            .filter((scope) => scopes.has(scope))
            .join(' '),
          accessIds: accessIds.split(/[\s,]+/).filter((one) => one !== ''),
          expiresInSeconds: hours * 3_600,
        });
      }}
    >
      <div class="row">
        <label class="grow">
          {props.nameLabel}
          <input
            required={props.isNameRequired}
            maxlength={256}
            autocomplete="off"
            placeholder={props.isNameRequired ? 'shop' : 'your own, when left empty'}
            value={name}
            onInput={(event) => {
              setName(event.currentTarget.value);
            }}
          />
        </label>
        <label class="grow">
          access_ids
          <input
            required
            spellcheck={false}
            autocomplete="off"
            placeholder="client1, shop/*"
            value={accessIds}
            onInput={(event) => {
              setAccessIds(event.currentTarget.value);
            }}
          />
        </label>
        {props.hasEnd ? (
          <label>
            Holds for
            <select
              value={hours}
              onChange={(event) => {
                setHours(Number(event.currentTarget.value));
              }}
            >
              {HOURS.map(([value, text]) => (
                <option key={value} value={value}>
                  {text}
                </option>
              ))}
            </select>
          </label>
        ) : null}
      </div>
      <fieldset>
        <legend>Scope</legend>
        {SCOPES.map(([scope, meaning]) => (
          <label key={scope} class="check">
            <input
              type="checkbox"
              checked={scopes.has(scope)}
              onChange={(event) => {
                const next = new Set(scopes);
                if (event.currentTarget.checked) {
                  next.add(scope);
                } else {
                  next.delete(scope);
                }
                setScopes(next);
              }}
            />
            {scope} <span class="muted">{meaning}</span>
          </label>
        ))}
      </fieldset>
      <div>
        <button type="submit" class="primary" disabled={props.isRunning || scopes.size === 0}>
          Make
        </button>
      </div>
    </form>
  );
}
