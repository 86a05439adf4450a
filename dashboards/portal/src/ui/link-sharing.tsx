import { useState } from 'preact/hooks';
import type { Schemas } from '../data/api.ts';
import { rich, t } from '../text/t.ts';
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
      <CopyText text={url} label={t('common.the_link')} />
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
      <p class="hint">{t('linkSharing.your_own_labels_such_as')}</p>
      <img
        class="qr"
        src={`/v1/links/${link.id}/qr.svg`}
        alt={t('linkSharing.qr_code_of_url', { url: link.url })}
      />
      <p class="hint">
        {rich('linkSharing.the_qr_code_contains_the', {
          link: (text) => (
            <a href={`/v1/links/${link.id}/qr.svg`} download={`${link.code}.svg`}>
              {text}
            </a>
          ),
        })}
      </p>
    </div>
  );
}
