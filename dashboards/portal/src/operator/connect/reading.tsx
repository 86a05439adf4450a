import type { Schemas } from '../../data/api.ts';
import { words } from '../../text/format.ts';
import { Status } from '../../ui/status.tsx';

/** What a mapping makes of a call. */
export function Reading({ reading }: { reading: Schemas['SourceReading'] }) {
  const { reports, ignored, faults, notes } = reading;
  return (
    <div class="stack" role="status">
      {faults.length > 0 && (
        <>
          <Status of="rejected" text="It cannot be read" />
          <Faults of={faults} />
        </>
      )}
      {ignored !== null && (
        <p>
          <Status of="ignored" text="Ignored" /> {ignored}
        </p>
      )}
      {reports.map(({ params, faults: wrong }, i) => (
        <div key={i} class="stack">
          <Status
            of={wrong.length > 0 ? 'rejected' : 'accepted'}
            text={wrong.length > 0 ? 'It would be refused' : 'It would be recorded'}
          />
          <Faults of={wrong} />
          <dl class="facts">
            {Object.entries(params as Record<string, unknown>).map(([name, value]) => (
              <Fact key={name} name={name} value={value} />
            ))}
          </dl>
        </div>
      ))}
      {notes.length > 0 && <p class="hint">Left out: {notes.join('; ')}.</p>}
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
