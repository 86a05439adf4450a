import { useRef } from 'preact/hooks';
import { MACRO_NAMES } from '../../../../core/links/macros.ts';
import { t } from '../text/t.ts';
import { TextArea } from './forms.tsx';

/** Descriptions of macros whose names are not sufficient. */
const ABOUT: Readonly<Record<string, string>> = {
  click_id: t('macroUrl.click_id_reported_by_the'),
  ts: t('macroUrl.time_of_the_click'),
};

interface MacroUrlProps {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly fault: string | undefined;
}

/** A URL with macros: a click on one inserts it at the cursor. */
export function MacroUrl(
  props: MacroUrlProps & {
    label: string;
    hint: string;
    macros: readonly string[];
    /** When they are replaced. */
    summary: string;
    about: Readonly<Record<string, string>>;
  },
) {
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
        label={props.label}
        rows={2}
        value={props.value}
        onChange={props.onChange}
        fault={props.fault}
        hint={props.hint}
        required
      />
      <details>
        <summary>{props.summary}</summary>
        <div class="chips">
          {props.macros.map((name) => (
            <button key={name} type="button" title={props.about[name]} onClick={() => insert(name)}>
              {`{${name}}`}
            </button>
          ))}
        </div>
      </details>
    </div>
  );
}

export function LandingPage(props: MacroUrlProps) {
  return (
    <MacroUrl
      {...props}
      label={t('common.landing_page')}
      hint={t('macroUrl.destination_of_visitors_without_click', { macro: '{click_id}' })}
      macros={MACRO_NAMES}
      summary={t('macroUrl.macros_replaced_at_each_click')}
      about={ABOUT}
    />
  );
}
