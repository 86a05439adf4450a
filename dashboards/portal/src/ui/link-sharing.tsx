import { useState } from 'preact/hooks';
import type { Schemas } from '../data/api.ts';
import { CopyText } from './basics.tsx';
import { TextField } from './forms.tsx';

const SUBS = ['sub1', 'sub2', 'sub3'] as const;

/** A link for publishing: with labels, as text to copy and as a QR code. */
export function LinkSharing({ link }: { link: Schemas['Link'] }) {
  const [subs, setSubs] = useState<Readonly<Record<string, string>>>({});
  const query = new URLSearchParams(Object.entries(subs).filter(([, value]) => value !== '')).toString();
  const url = query === '' ? link.url : `${link.url}?${query}`;
  return (
    <div class="stack">
      <CopyText text={url} label="the link" />
      <div class="form-row">
        {SUBS.map((name) => (
          <TextField
            key={name}
            label={name}
            value={subs[name] ?? ''}
            max={100}
            onChange={(value) => setSubs({ ...subs, [name]: value })}
          />
        ))}
      </div>
      <p class="hint">
        Your own labels, such as a placement. They are recorded with every click and are dimensions of
        reports.
      </p>
      <img class="qr" src={`/v1/links/${link.id}/qr.svg`} alt={`QR code of ${link.url}`} />
      <p class="hint">
        The QR code contains the link without labels.{' '}
        <a href={`/v1/links/${link.id}/qr.svg`} download={`${link.code}.svg`}>
          Download
        </a>{' '}
        for print.
      </p>
    </div>
  );
}
