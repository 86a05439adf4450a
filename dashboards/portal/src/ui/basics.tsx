import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Money } from '../data/api.ts';
import { formatExact, formatMoney, formatTime } from '../text/format.ts';
import { describeProblem } from '../text/problem-text.ts';
import { t } from '../text/t.ts';

/** Basic components of every page. */

export function Page(props: {
  title: string;
  lead?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <div class="page">
      <header class="page-head">
        <div>
          <h1 tabIndex={-1}>{props.title}</h1>
          {props.lead && <p class="lead">{props.lead}</p>}
        </div>
        {props.actions && <div class="actions">{props.actions}</div>}
      </header>
      {props.children}
    </div>
  );
}

export function Card(props: {
  title?: string;
  note?: ComponentChildren;
  actions?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
}) {
  return (
    <section class={`card ${props.class ?? ''}`}>
      {props.title && (
        <div class="card-head">
          <div>
            <h2>{props.title}</h2>
            {props.note && <p class="note">{props.note}</p>}
          </div>
          {props.actions && <div class="actions">{props.actions}</div>}
        </div>
      )}
      {props.children}
    </section>
  );
}

export function Amount({ money, strong }: { money: Money; strong?: boolean }) {
  return <span class={strong ? 'amount strong' : 'amount'}>{formatMoney(money)}</span>;
}

/** A time in the reader's zone; its title has the whole of it. */
export function When({ at, none = '–' }: { at: string | null | undefined; none?: string }) {
  if (!at) return <span class="muted">{none}</span>;
  return (
    <time dateTime={at} title={formatExact(at)}>
      {formatTime(at)}
    </time>
  );
}

export function Problem({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (error === undefined) return null;
  const { title, advice, requestId } = describeProblem(error);
  return (
    <div class="problem" role="alert">
      <div>
        <strong>{title}</strong>
        <p>
          {advice} {requestId && <code>{requestId}</code>}
        </p>
      </div>
      {onRetry && (
        <button type="button" onClick={onRetry}>
          {t('basics.try_again')}
        </button>
      )}
    </div>
  );
}

/** An empty state: reason and next step. */
export function Empty(props: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{props.title}</strong>
      {props.children && <div>{props.children}</div>}
    </div>
  );
}

export function Loading({ what = t('basics.loading') }: { what?: string }) {
  return (
    <div class="loading" role="status">
      <span class="spinner" aria-hidden="true" />
      {what}…
    </div>
  );
}

export function Button(props: {
  children: ComponentChildren;
  onClick?: () => void;
  kind?: 'primary' | 'plain' | 'danger' | 'quiet';
  type?: 'button' | 'submit';
  busy?: boolean;
  disabled?: boolean;
  label?: string;
}) {
  return (
    <button
      type={props.type ?? 'button'}
      class={props.kind ?? 'plain'}
      onClick={props.onClick}
      aria-label={props.label}
      aria-busy={props.busy ? 'true' : undefined}
      disabled={props.disabled || props.busy}
    >
      {props.busy && <span class="spinner" aria-hidden="true" />}
      {props.children}
    </button>
  );
}

const COPIED_MS = 2_000;

/** Copies a text and announces it to screen readers. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  async function copy(): Promise<void> {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_MS);
  }
  return (
    <button
      type="button"
      class="quiet"
      aria-label={t(copied ? 'basics.copied_label' : 'basics.copy_label', { label })}
      onClick={() => void copy()}
    >
      <span aria-live="polite">{copied ? t('basics.copied') : t('basics.copy')}</span>
    </button>
  );
}

/** A text to be copied, such as a link or a key. */
export function CopyText({ text, label }: { text: string; label: string }) {
  return (
    <div class="copy-text">
      <code>{text}</code>
      <Copy text={text} label={label} />
    </div>
  );
}

export function Progress({ done, total, label }: { done: number; total: number; label: string }) {
  return (
    <div class="progress">
      <progress max={Math.max(1, total)} value={total === 0 ? undefined : done} aria-label={label} />
      <span>{label}</span>
    </div>
  );
}
