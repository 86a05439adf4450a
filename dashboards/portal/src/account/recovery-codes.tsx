import { rich, t } from '../text/t.ts';
import { Copy } from '../ui/basics.tsx';

/** Recovery codes, which are shown once: to copy or to download. */
export function RecoveryCodes({ codes }: { codes: readonly string[] }) {
  const heading = t('recoveryCodes.heading', { host: window.location.host });
  const text = `${heading}\n\n${codes.join('\n')}\n`;
  return (
    <div class="stack">
      <p>
        {rich('recoveryCodes.store_these_recovery_codes_now', { strong: (text) => <strong>{text}</strong> })}
      </p>
      <ul class="codes">
        {codes.map((code) => (
          <li key={code}>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <div class="actions">
        <Copy text={text} label={t('recoveryCodes.the_recovery_codes')} />
        <a
          download="afflux-recovery-codes.txt"
          href={`data:text/plain;charset=utf-8,${encodeURIComponent(text)}`}
        >
          {t('common.download')}
        </a>
      </div>
    </div>
  );
}
