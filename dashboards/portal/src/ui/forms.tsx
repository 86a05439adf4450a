import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { useDialogEntry } from '../app/dialog-history.ts';
import { t } from '../text/t.ts';
import { Button, Problem } from './basics.tsx';

/** Fields with labels, hints and faults; forms with errors; dialogs. */

interface FieldProps {
  readonly label: string;
  readonly hint?: ComponentChildren;
  /** The server's message about this field. */
  readonly fault?: string | undefined;
}

function Field(
  props: FieldProps & {
    children: (ids: { id: string; describedBy: string | undefined }) => ComponentChildren;
  },
) {
  const id = useId();
  const { label, hint, fault } = props;
  const describedBy = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(' ') || undefined;
  return (
    <div class={fault ? 'field at-fault' : 'field'}>
      <label for={id}>{label}</label>
      {props.children({ id, describedBy })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {fault && (
        <p class="fault" id={`${id}-fault`}>
          {fault}
        </p>
      )}
    </div>
  );
}

export function TextField(
  props: FieldProps & {
    value: string;
    onChange: (value: string) => void;
    type?: 'text' | 'email' | 'password' | 'url' | 'search' | 'date' | 'datetime-local' | 'number';
    required?: boolean;
    autocomplete?: string;
    placeholder?: string;
    inputMode?: 'decimal' | 'numeric';
    max?: number;
    /** Why the form is not sent with this text. */
    validity?: string | undefined;
  },
) {
  return (
    <Field {...props}>
      {({ id, describedBy }) => (
        <input
          id={id}
          // The types of JSX tie some attributes to some types of input.
          type={(props.type ?? 'text') as 'text'}
          value={props.value}
          required={props.required}
          autocomplete={props.autocomplete ?? 'off'}
          placeholder={props.placeholder}
          inputMode={props.inputMode}
          maxLength={props.max}
          ref={(input) => input?.setCustomValidity(props.validity ?? '')}
          aria-describedby={describedBy}
          aria-invalid={props.fault ? 'true' : undefined}
          onInput={(event) => props.onChange(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

export function TextArea(
  props: FieldProps & { value: string; onChange: (value: string) => void; rows?: number; required?: boolean },
) {
  return (
    <Field {...props}>
      {({ id, describedBy }) => (
        <textarea
          id={id}
          rows={props.rows ?? 4}
          value={props.value}
          required={props.required}
          aria-describedby={describedBy}
          onInput={(event) => props.onChange(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

export interface Choice {
  readonly value: string;
  readonly text: string;
}

export function Select(
  props: FieldProps & { value: string; onChange: (value: string) => void; choices: readonly Choice[] },
) {
  return (
    <Field {...props}>
      {({ id, describedBy }) => (
        <select
          id={id}
          value={props.value}
          aria-describedby={describedBy}
          onChange={(event) => props.onChange(event.currentTarget.value)}
        >
          {props.choices.map(({ value, text }) => (
            <option key={value} value={value} selected={value === props.value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function Check(props: {
  label: string;
  checked: boolean;
  onChange: (checked: boolean) => void;
  required?: boolean;
}) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={props.checked}
        required={props.required}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      {props.label}
    </label>
  );
}

/** A row of choices with one selected. */
export function Segments(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  choices: readonly Choice[];
}) {
  return (
    <fieldset class="segments">
      <legend class="hidden">{props.label}</legend>
      {props.choices.map(({ value, text }) => (
        <button
          key={value}
          type="button"
          aria-pressed={value === props.value}
          onClick={() => props.onChange(value)}
        >
          {text}
        </button>
      ))}
    </fieldset>
  );
}

/** A form with one submission at a time. */
export function Form(props: {
  children: ComponentChildren;
  onSubmit: () => void;
  submit: string;
  busy: boolean;
  error: unknown;
  kind?: 'primary' | 'danger';
  onCancel?: (() => void) | undefined;
  class?: string;
}) {
  return (
    <form
      class={props.class ?? 'form'}
      onSubmit={(event) => {
        event.preventDefault();
        props.onSubmit();
      }}
    >
      {props.children}
      <Problem error={props.error} />
      <div class="form-end">
        <Button type="submit" kind={props.kind ?? 'primary'} busy={props.busy}>
          {props.submit}
        </Button>
        {props.onCancel && (
          <Button kind="quiet" onClick={props.onCancel}>
            {t('forms.cancel')}
          </Button>
        )}
      </div>
    </form>
  );
}

/** The native dialog: it keeps the focus, and Escape closes it. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  useDialogEntry(() => dialog.current?.close());
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={props.onClose}>
      <div class="dialog-head">
        <h2 id={id}>{props.title}</h2>
        <Button kind="quiet" label={t('forms.close')} onClick={() => dialog.current?.close()}>
          ✕
        </Button>
      </div>
      {props.children}
    </dialog>
  );
}

/** Gives the file as it is: the API reads its encoding. */
export function FileField(props: { label: string; accept: string; onFile: (file: File) => void }) {
  return (
    <Field label={props.label}>
      {({ id }) => (
        <input
          id={id}
          type="file"
          accept={props.accept}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) props.onFile(file);
          }}
        />
      )}
    </Field>
  );
}
