-- Ages beyond what a time can reckon with ("10000 years") were taken, and from then on no batch was: nor was any revoked key
-- noticed. As hirundo_owner. A constraint of its own: setting_check is of others. What is there already is not checked.
alter table hirundo.setting add constraint setting_at_most_2000_years check (
  case when name = 'accept_from' then value::date between date '0001-01-01' and date '9999-12-31'
       when name like 'retention\_%' or name in ('accept_ahead', 'keep_data_sets', 'late_after', 'silent_after', 'losing_for', 'clock_off_after', 'surge_alert_age')
         then lower(value) = 'off' or value::interval <= interval '2000 years'
       else true end) not valid;
