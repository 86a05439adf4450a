import { useRef } from 'preact/hooks';
import { MACRO_NAMES } from '../../../../core/links/macros.ts';
import { TextArea } from './forms.tsx';

/** What a macro is replaced with, where its name does not say it. */
const ABOUT: Readonly<Record<string, string>> = {
  click_id: 'the click’s id, which the shop reports with the order',
  ts: 'the time of the click',
};

/** A landing page with macros: a press on one puts it where the cursor stands. */
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
        hint="Where visitors arrive. If {click_id} is not in it, it is added as click_id."
        required
      />
      <details>
        <summary>Macros: what is filled in at each click</summary>
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
