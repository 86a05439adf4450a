import { useState } from 'preact/hooks';
import { useSession } from '../app/session.tsx';
import { api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { rich, t } from '../text/t.ts';
import { Button, Card, Problem, When } from '../ui/basics.tsx';
import { Dialog } from '../ui/forms.tsx';
import { Enrolment } from './enrolment.tsx';
import { RecoveryCodes } from './recovery-codes.tsx';

const FEW_CODES = 3;

/** The user's second factor: set it up, make new recovery codes, remove it. */
export function SecondFactorCard() {
  const { secondFactor, reload } = useSession();
  const { enrolled_at, recovery_codes_left, required } = secondFactor;
  const [isEnrolling, setEnrolling] = useState(false);
  if (enrolled_at !== null) return <EnrolledCard enrolledAt={enrolled_at} codesLeft={recovery_codes_left} />;
  function close(): void {
    setEnrolling(false);
    reload();
  }
  return (
    <Card
      title={t('common.second_factor')}
      note={required ? t('secondFactor.your_program_requires_it') : t('secondFactor.a_code_from_your_phone')}
    >
      <Button onClick={() => setEnrolling(true)}>{t('common.set_up_a_second_factor')}</Button>
      {isEnrolling && (
        <Dialog title={t('common.set_up_a_second_factor')} onClose={close}>
          <Enrolment onDone={close} />
        </Dialog>
      )}
    </Card>
  );
}

function EnrolledCard({ enrolledAt, codesLeft }: { enrolledAt: string; codesLeft: number }) {
  const { reload } = useSession();
  const [codes, setCodes] = useState<readonly string[]>();
  const replace = useAction(async () => {
    const made = await take(api.POST('/v1/session/second-factor/recovery-codes'));
    setCodes(made.recovery_codes);
  });
  const remove = useAction(async () => {
    await take(api.DELETE('/v1/session/second-factor'));
    reload();
  });
  function close(): void {
    setCodes(undefined);
    reload();
  }
  return (
    <Card
      title={t('common.second_factor')}
      note={rich('secondFactor.set_up_codes_left', { at: <When at={enrolledAt} />, count: codesLeft })}
    >
      <div class="stack">
        {codesLeft < FEW_CODES && <p class="fault">{t('secondFactor.make_new_recovery_codes_before')}</p>}
        <div class="actions">
          <Button onClick={() => void replace.run()} busy={replace.busy}>
            {t('secondFactor.new_recovery_codes')}
          </Button>
          <Button kind="danger" onClick={() => void remove.run()} busy={remove.busy}>
            {t('common.remove')}
          </Button>
        </div>
        <Problem error={replace.error ?? remove.error} />
      </div>
      {codes && (
        <Dialog title={t('secondFactor.new_recovery_codes')} onClose={close}>
          <RecoveryCodes codes={codes} />
        </Dialog>
      )}
    </Card>
  );
}
