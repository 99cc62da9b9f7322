/**
 * The SQL editor. It lives in a shadow root, where its style sheets are adopted: the page's policy allows no style
 * element. Tab leaves it, so that the keyboard is not caught.
 */
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { sql } from '@codemirror/lang-sql';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { EditorState, Prec, type Transaction } from '@codemirror/state';
import { drawSelection, EditorView, highlightSpecialChars, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';

export interface Editor {
  text(): string;
  setText(text: string): void;
  focus(): void;
  destroy(): void;
}

/**
 * Text typed over a selection. Left to itself, the browser keeps the look of what stood there by a style of its own,
 * which the policy refuses.
 */
function replaceSelection(event: InputEvent, view: EditorView): boolean {
  const { from, to, empty } = view.state.selection.main;
  const text = event.data;
  if (event.inputType !== 'insertText' || empty || text === null) {
    return false;
  }
  const insert = (): Transaction =>
    view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true });
  const isHandled = view.state
    .facet(EditorView.inputHandler)
    .some((handle) => handle(view, from, to, text, insert));
  if (!isHandled) {
    view.dispatch(insert());
  }
  event.preventDefault();
  return true;
}

/** The contract's tables and views, for completion. */
const SCHEMA = {
  events: ['position', 'access_id', 'version', 'created_at', 'recorded_at', 'event_id', 'payload'],
  event_history: ['position', 'access_id', 'version', 'created_at', 'recorded_at', 'event_id', 'payload'],
  event_counts: ['access_id', 'day', 'events'],
  event_gaps: ['position', 'access_id', 'version', 'recorded_at', 'gap_ms', 'created_gap_ms'],
  event_delays: ['position', 'access_id', 'version', 'created_at', 'recorded_at', 'delay_ms', 'is_late'],
  event_days: ['day', 'events', 'access_ids', 'payload_bytes', 'first_position', 'last_position'],
  access_id_activity: [
    'access_id',
    'events',
    'first_version',
    'last_version',
    'first_recorded_at',
    'last_recorded_at',
    'payload_bytes',
  ],
};

const highlight = HighlightStyle.define([
  { tag: tags.keyword, color: 'var(--code-keyword)', fontWeight: '600' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--muted)', fontStyle: 'italic' },
  { tag: tags.typeName, color: 'var(--code-keyword)' },
]);

const look = EditorView.theme({
  '&': { color: 'var(--text)', backgroundColor: 'transparent', fontSize: '0.875rem' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55', minHeight: '8.5rem', maxHeight: '22rem' },
  '.cm-content': { padding: '0.75rem', caretColor: 'var(--text)' },
  '.cm-line': { padding: '0' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-placeholder': { color: 'var(--muted)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    background: 'var(--selection)',
  },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--selection)' },
  '.cm-tooltip': {
    backgroundColor: 'var(--panel)',
    border: '1px solid var(--line-strong)',
    borderRadius: '6px',
    color: 'var(--text)',
  },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { background: 'var(--accent)', color: 'var(--on-accent)' },
});

export function createEditor(host: HTMLElement, text: string, onRun: () => void): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(
          keymap.of([
            {
              key: 'Mod-Enter',
              run: () => {
                onRun();
                return true;
              },
            },
          ]),
        ),
        history(),
        drawSelection(),
        highlightSpecialChars(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        sql({ schema: SCHEMA }),
        syntaxHighlighting(highlight),
        look,
        placeholder('select …'),
        EditorView.lineWrapping,
        EditorView.domEventHandlers({ beforeinput: replaceSelection }),
        EditorView.contentAttributes.of({ 'aria-label': 'SQL', 'aria-multiline': 'true' }),
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    setText(next) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } });
    },
    focus() {
      view.focus();
    },
    destroy() {
      view.destroy();
    },
  };
}
