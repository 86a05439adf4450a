import type { Schemas } from '../../data/api.ts';
import { words } from '../../text/format.ts';
import { listed, t } from '../../text/t.ts';
import { Status } from '../../ui/status.tsx';

/** What a mapping makes of a call. */
export function Reading({ reading }: { reading: Schemas['SourceReading'] }) {
  const { reports, names, ignored, faults, notes } = reading;
  return (
    <div class="stack" role="status">
      {faults.length > 0 && (
        <>
          <Status of="rejected" text={t('reading.cannot_be_read')} />
          <Faults of={faults} />
        </>
      )}
      {ignored !== null && (
        <p>
          <Status of="ignored" text={t('reading.ignored')} /> {ignored}
        </p>
      )}
      {reports.map(({ params, faults: wrong }, i) => (
        <div key={i} class="stack">
          <Status
            of={wrong.length > 0 ? 'rejected' : 'accepted'}
            text={wrong.length > 0 ? t('reading.would_be_refused') : t('reading.would_be_recorded')}
          />
          <Faults of={wrong} />
          <dl class="facts">
            {Object.entries(params as Record<string, unknown>).map(([name, value]) => (
              <Fact key={name} name={name} value={value} />
            ))}
          </dl>
        </div>
      ))}
      {names.map(({ order_id, other_ids }) => (
        <p key={order_id} class="hint">
          {t('reading.names', { ids: listed([order_id, ...other_ids]) })}
        </p>
      ))}
      {notes.length > 0 && <p class="hint">{t('reading.left_out', { notes: listed(notes) })}</p>}
    </div>
  );
}

function Fact({ name, value }: { name: string; value: unknown }) {
  return (
    <>
      <dt>{words(name)}</dt>
      <dd>{typeof value === 'string' ? value : JSON.stringify(value)}</dd>
    </>
  );
}

function Faults({ of: faults }: { of: Schemas['SourceReading']['faults'] }) {
  if (faults.length === 0) return null;
  return (
    <ul>
      {faults.map(({ field, message }) => (
        <li key={`${field} ${message}`}>
          <code>{field}</code>: {message}
        </li>
      ))}
    </ul>
  );
}
