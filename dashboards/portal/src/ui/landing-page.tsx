import { useRef } from 'preact/hooks';
import { MACRO_NAMES } from '../../../../core/links/macros.ts';
import { TextArea } from './forms.tsx';

/** Descriptions of macros whose names are not sufficient. */
const ABOUT: Readonly<Record<string, string>> = {
  click_id: 'click ID, reported by the shop with the order',
  ts: 'time of the click',
};

/** A landing page with macros: a click on one inserts it at the cursor. */
export function LandingPage(props: {
  value: string;
  onChange: (value: string) => void;
  fault: string | undefined;
}) {
  const holder = useRef<HTMLDivElement>(null);
  function insert(macro: string): void {
    const area = holder.current?.querySelector('textarea');
    const at = area?.selectionStart ?? props.value.length;
    props.onChange(`${props.value.slice(0, at)}{${macro}}${props.value.slice(area?.selectionEnd ?? at)}`);
    area?.focus();
  }
  return (
    <div class="stack" ref={holder}>
      <TextArea
        label="Landing page"
        rows={2}
        value={props.value}
        onChange={props.onChange}
        fault={props.fault}
        hint="Destination of visitors. Without {click_id} the parameter click_id is appended."
        required
      />
      <details>
        <summary>Macros, replaced at each click</summary>
        <div class="chips">
          {MACRO_NAMES.map((name) => (
            <button key={name} type="button" title={ABOUT[name]} onClick={() => insert(name)}>
              {`{${name}}`}
            </button>
          ))}
        </div>
      </details>
    </div>
  );
}
